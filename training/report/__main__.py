"""The command: ``python -m training.report --run DIR --control DIR``."""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from training.command import Parser
from training.errors import TrainingError

EXAMPLES = """examples:
  python -m training.report --run demo/runs/mos --control demo/runs/control   # to demo/runs/mos/report.html
  python -m training.report --run experiments --out report.html          # a grid: all its models and seeds
  python -m training.report --run experiments --config conf/experiments/tier1.toml
  python -m training.report --run runs/mos --warehouse /data/warehouse          # where the tables have moved

The report is one HTML file that needs no network: models against controls with intervals, slices, learning
curves, ranks or calibration, what experts and themes carry, and a few users. It names users and what they
did: keep it as you keep the tables. The last line on stdout is a summary as JSON; progress goes to stderr.

exit status: 0 done; 1 failed; 2 arguments, configuration or data at fault"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; ConfigError where they are wrong."""
    parser = Parser(
        prog="python -m training.report",
        description="Write the report of a run beside its controls, or of a grid.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--run", required=True, metavar="DIR", type=Path, help="a run, a folder of its seeds, or a grid")
    add(
        "--control",
        action="append",
        default=[],
        metavar="DIR",
        type=Path,
        dest="controls",
        help="a run to hold it against; may be given several times",
    )
    add("--out", metavar="FILE", type=Path, help="default: report.html in the run's or grid's folder")
    add("--warehouse", metavar="DIR", help="where the tables are, instead of where the run found them")
    add("--targets", type=int, metavar="N", help="ask again for at most N test targets, whole users")
    add("--config", metavar="FILE", type=Path, help="a grid's own configuration: which models it compares")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run the command; the exit status comes back."""
    try:
        args = parse(words)
        # torch is slow to import, --help need not wait
        from training.report.gather import Bench  # noqa: PLC0415
        from training.report.grid import is_grid, write_grid_report  # noqa: PLC0415
        from training.report.write import write_run_report  # noqa: PLC0415

        out, bench = args.out or args.run / "report.html", Bench(args.warehouse, args.targets)
        if is_grid(args.run):
            summary = write_grid_report(args.run, args.config, out, bench)
        else:
            summary = write_run_report(args.run, args.controls, out, bench)
    except TrainingError as error:
        print(f"error: {error.line}", file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_status
    except Exception:
        traceback.print_exc()
        return 1
    print(json.dumps(summary), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
