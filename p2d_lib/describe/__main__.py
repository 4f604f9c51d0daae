"""A run's descriptions and images in the layout of the original prompt2derm.

python -m p2d_lib.describe write smoke --out FOLDER [--describer captioner]
"""

import argparse
import sys

from p2d_lib.files import named_path
from p2d_lib.write_command import run_write


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m p2d_lib.describe", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    write = verbs.add_parser("write", help="write descriptions.json and real_images/<class>/")
    write.add_argument("run", help="name of a run that 02_describe has ended")
    write.add_argument("--out", type=named_path, required=True, help="the folder to fill")
    write.add_argument("--describer", help="as the tables name it; default: what makes each image's prompt")
    options = parser.parse_args(arguments)

    from p2d_lib.describe.description_files import DescriptionFileError

    return run_write(lambda: _write(options), options.out, DescriptionFileError)


def _write(options: argparse.Namespace) -> str:
    from p2d_lib.describe import description_files
    from p2d_lib.run import Run
    from p2d_lib.words.choose import chosen

    run = Run(options.run, "03_finetune")  # which may read what 02 has made
    descriptions, cases = run.read("descriptions"), run.read("cases")
    if options.describer:
        of_describer = descriptions[descriptions["describer"] == options.describer]
        if of_describer.empty:
            names = ", ".join(descriptions["describer"].unique())
            raise description_files.DescriptionFileError(f"no describer {options.describer!r}; the run has {names}")
        descriptions = of_describer
    n = description_files.write(chosen(descriptions), cases, run.folder, options.out)
    return f"{options.out}: {n:,} descriptions and images"


if __name__ == "__main__":
    sys.exit(main())
