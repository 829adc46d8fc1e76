"""What `make demo` found, on one screen: tables, hops against the truth, model against control."""

import sys
from pathlib import Path

from jobs.entry import Parser, run
from pipelines.console import leaving_at_once
from pipelines.demo.read import read_demo
from pipelines.demo.show import show

EXAMPLES = """\
  python jobs/show_demo.py --demo demo
  NO_COLOR=1 python jobs/show_demo.py --demo demo     # without colours, as where output is no terminal"""


def main() -> None:
    parser = Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--demo", required=True, metavar="DIR", help="the folder that make demo wrote to")
    show(read_demo(Path(parser.parse_args().demo)), sys.stdout)


if __name__ == "__main__":
    with leaving_at_once():
        run(main)
