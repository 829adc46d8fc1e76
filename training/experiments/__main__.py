"""The command: ``python -m training.experiments --config FILE --out DIR``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from training.errors import TrainingError

ABOUT = """Train every model of a grid on every data set under every seed; write the tables and their plots.

What is finished is not run again, so a grid that was cut short goes on where it stopped. Cells of other
settings or of another version of the data are run again; code that has changed since is not noticed, but
the report says which commits its cells are of."""

EXAMPLES = """\
examples:
  python -m training.experiments --config conf/experiments/tier1.toml --out experiments
  python -m training.experiments --config conf/experiments/tier1.toml --out experiments --prepare
      only expand the data, to take it to another machine
  python -m training.experiments --config conf/experiments/tier1.toml --out experiments --workers 8 --cuda
  python -m training.experiments --config conf/experiments/tier1.toml --out experiments --report
      only the tables and plots of what is finished
The last line of stdout is the report's path (JSON). Exit status: 0 done; 2 wrong arguments, config or
data; 130 interrupted; 1 anything else."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the grid, TOML")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="data, runs, results and report"
    )
    parser.add_argument("--data", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these models")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="instead of the config's")
    parser.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes side by side")
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads of a worker")
    parser.add_argument("--cuda", action="store_true", help="train on the GPU")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--prepare", action="store_true", help="only expand the data")
    only.add_argument("--report", action="store_true", help="only write the tables and plots")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run the command; the exit status."""
    arguments = parse(words)
    from training.experiments.run import run  # noqa: PLC0415, torch is slow to import, --help need not wait

    try:
        found = run(arguments)
    except TrainingError as error:
        print(f"error: {error.line}", file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_status
    print(json.dumps(found), flush=True)  # noqa: T201
    return 0


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
