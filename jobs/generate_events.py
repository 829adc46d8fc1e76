"""Clickstream events whose sessions, themes, hops and returns are known, in any source format."""

import os
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.entry import Parser, instant, run
from pipelines.errors import ConfigError
from pipelines.progress import Progress
from pipelines.synthetic.generate import generate
from pipelines.synthetic.settings import CHAINS, FORMATS, TS_UNITS, Settings

CHOICES = {"format": FORMATS, "ts_unit": TS_UNITS, "chain": CHAINS}
EXAMPLES = """\
  python jobs/generate_events.py --events 100000 --out demo
  python jobs/generate_events.py --events 20000000 --out big --format parquet --ts-unit us --workers 8
  python jobs/generate_events.py --events 2000000 --out hard --off-theme 0.15 --theme-overlap 0.1 --seed 1
  python jobs/generate_events.py --events 200000 --out clean --bots 0 --late 0 --malformed 0 --duplicates 0
  python jobs/generate_events.py --events 200000 --out control --chain restart
  python jobs/generate_events.py --events 200000 --out one-theme --themes-per-user 1 --off-theme 0
writes OUT/events (event_id, user_id, item_id, category_id, event_type, ts; csv has a header) and the truth,
OUT/truth/{sessions,events,items}.parquet and summary.json. The same settings and seed give the same bytes.
exit status: 0 done; 2 wrong arguments or a folder that cannot be written; 1 anything else.
The last line of stdout is the summary (JSON)."""


def main() -> Mapping[str, Any]:
    parser = Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: cores)")
    for field in fields(Settings):
        kind: Any = instant if field.type is datetime else field.type
        options: dict[str, Any] = {"action": "store_true"} if kind is bool else {"default": field.default}
        if field.name in CHOICES:
            options["choices"] = CHOICES[field.name]
        elif kind is not bool:
            options |= {"type": kind, "metavar": "TS" if kind is instant else "N"}
        about = f"{field.metadata['help']} (default {field.default})".replace("%", "%%")
        parser.add_argument(f"--{field.name.replace('_', '-')}", help=about, **options)
    given = vars(parser.parse_args())
    out, workers = given.pop("out"), given.pop("workers")
    if workers < 1:
        raise ConfigError(f"--workers is {workers}; it must be at least 1")
    return generate(Settings(**given), out, workers, Progress().say)


if __name__ == "__main__":
    run(main)
