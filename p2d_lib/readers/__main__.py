"""The questions of a run's images as files: VQA-VLM-Derma's JSONL, and LLaVA's conversations.

python -m p2d_lib.readers records smoke --out FOLDER [--template lesion_7way_v2]
"""

import argparse
import sys

from p2d_lib.files import named_path
from p2d_lib.write_command import run_write

TEMPLATES = ("lesion_7way_v1", "lesion_7way_v2", "lesion_7way_v3")  # keys of vqa_records.QUESTIONS


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m p2d_lib.readers", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    records = verbs.add_parser("records", help="write vqa/<split>.jsonl and llava_format/<split>.json")
    records.add_argument("run", help="name of a run that 01_prep has ended")
    records.add_argument("--out", type=named_path, required=True, help="the folder to fill")
    records.add_argument(
        "--template", choices=TEMPLATES, default=TEMPLATES[0], help="default: %(default)s, as published"
    )
    options = parser.parse_args(arguments)
    return run_write(lambda: _write(options), options.out)


def _write(options: argparse.Namespace) -> str:
    from p2d_lib.readers import vqa_records
    from p2d_lib.run import Run

    cases = Run(options.run, "02_describe").read("cases")  # 02 may read what 01 has made
    for folder in ("vqa", "llava_format"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    for split, of_split in cases.groupby("split"):
        records = vqa_records.records(of_split, options.template)
        vqa_records.write(records, options.out / "vqa" / f"{split}.jsonl")
        vqa_records.write_conversations(records, options.out / "llava_format" / f"{split}.json")
    return f"{options.out}: {len(cases):,} questions, twice"


if __name__ == "__main__":
    sys.exit(main())
