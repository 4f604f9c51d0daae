"""python -m p2d_lib.parameters [--check]: writes what is generated from the parameters, or says what is outdated."""

import argparse
import sys

from p2d_lib.parameters import generate

arguments = argparse.ArgumentParser(prog="python -m p2d_lib.parameters", description=generate.__doc__)
arguments.add_argument("--check", action="store_true", help="write nothing; name what differs and end with 1")
only_check = arguments.parse_args().check
differing = generate.outdated(write=not only_check)
for path in differing:
    print(f"{path.parent.name}/{path.name} {'differs from p2d_lib/parameters' if only_check else 'written'}")
if differing and only_check:
    print("run: python -m p2d_lib.parameters")
sys.exit(bool(differing and only_check))
