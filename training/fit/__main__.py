"""The command: ``python -m training.fit --config conf/train/NAME.toml``."""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence

from training.command import Parser
from training.errors import RelayedError, TrainingError

EXAMPLES = """examples:
  python -m training.fit --config conf/train/sasrec.toml
  python -m training.fit --config conf/train/mos.toml --set data.warehouse=demo/warehouse \\
      --set training.steps=300 --set seed=3 --set output=runs/mos-3
  python -m training.fit --config conf/train/mos.toml --resume     # go on after an interruption
  python -m training.fit --config runs/mos-3/config.toml --set output=runs/again   # the same run once more

The output folder gets config.toml (defaults and overrides included), run.json (table versions, code,
packages), vocabulary.parquet, metrics.jsonl, curves.png, best.pt, test.json, test_targets.parquet (the result
of each target), summary.json and checkpoints/.
The last line on stdout is the summary as JSON; progress goes to stderr. A first Ctrl-C or SIGTERM saves a
checkpoint and leaves.

exit status: 0 done; 1 failed; 2 configuration or data at fault; 130 or 143 interrupted and saved: --resume"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; ConfigError where they are wrong."""
    parser = Parser(
        prog="python -m training.fit",
        description="Fit one model on a published table of sequences.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="such as conf/train/sasrec.toml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="override a key of the file; may be given several times",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest checkpoint in the output folder; begin where there is none",
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run the command; the exit status comes back."""
    rank = os.environ.get("LOCAL_RANK", "0")  # the other ranks' processes run this as well
    try:
        args = parse(words)
        from training.fit.load import load_config  # noqa: PLC0415, torch is slow to import, --help need not wait

        config = load_config(args.config, args.overrides)
        from training.fit.run import run_fit  # noqa: PLC0415

        summary, signal_number = run_fit(config, args.resume)
    except RelayedError as error:
        return error.exit_status
    except TrainingError as error:
        where = "" if rank == "0" else f"rank {rank}: "
        print(f"error: {where}{error.line}", file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    if rank == "0":
        print(json.dumps(summary), flush=True)  # noqa: T201
    return 128 + signal_number if signal_number else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
