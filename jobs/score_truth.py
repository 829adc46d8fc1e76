"""Compare a build of generated events with the truth that jobs/generate_events.py wrote beside them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from jobs.entry import Parser, run
from pipelines.errors import ConfigError
from pipelines.truth import read_sessions, score

EXAMPLES = "  python jobs/score_truth.py --truth demo/truth --warehouse demo/warehouse"


def main() -> Mapping[str, Any]:
    parser = Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--truth", required=True, metavar="DIR", help="the generator's truth folder")
    parser.add_argument("--warehouse", required=True, metavar="DIR", help="what was built of its events")
    arguments = parser.parse_args()
    truth = Path(arguments.truth) / "sessions"
    if not truth.exists() and not truth.with_suffix(".parquet").exists():
        raise ConfigError(
            f"{arguments.truth}: no sessions in this truth folder; pass the generator's DIR/truth"
        )
    path = truth if truth.exists() else truth.with_suffix(".parquet")
    result = score(pd.read_parquet(path), read_sessions(arguments.warehouse))
    print(result.to_text(), file=sys.stderr)
    return result.to_json()


if __name__ == "__main__":
    run(main)
