"""Raw clickstream events in, sessions, hops, themes and multi-sequence tensors out (Delta tables)."""

from collections.abc import Mapping
from typing import Any

from jobs.entry import Parser, instant, run
from pipelines.build import BuildRequest, build

EXAMPLES = """\
  spark-submit jobs/build_sequences.py --dry-run --source my-events.csv
      read a sample of an unknown log; print its profile and a config to start from
  spark-submit jobs/build_sequences.py --config conf/taobao.toml --source UserBehavior.csv
  spark-submit jobs/build_sequences.py --config conf/my.toml --as-of 2026-11-20 --fit frozen
  spark-submit jobs/build_sequences.py --config conf/my.toml --set sessions.gap=1h --full-refresh
  spark-submit jobs/build_sequences.py --config conf/my.toml --retry-rejected
  spark-submit jobs/build_sequences.py --config conf/my.toml --from-bronze
      sequences of what jobs/stream_events.py brought, every few minutes
exit status: 0 done; 2 wrong arguments, config or source; 3 a quality gate failed and nothing was
published; 4 another run holds the lock; 1 anything else. The last line of stdout is the summary (JSON)."""


def main() -> Mapping[str, Any]:
    parser = Parser(__doc__ or "", EXAMPLES)
    add = parser.add_argument
    add("--config", metavar="FILE", help="TOML file; see conf/ (not needed with --dry-run --source)")
    add("--source", metavar="PATH", help="file, folder or Delta table of raw events, over the config's")
    add("--warehouse", metavar="DIR", help="where the tables lie, over the config's")
    add("--start", type=instant, metavar="TS", help="take events from this time on only (UTC)")
    add("--end", type=instant, metavar="TS", help="take events before this time only (UTC)")
    add("--as-of", type=instant, metavar="TS", help="nothing at or after it is published (default: all)")
    add("--fit", choices=("auto", "frozen", "refit"), default="auto", help="what is learned: learn once "
        "and reuse it (auto, the default), insist on reuse (frozen), or learn again (refit)")  # fmt: skip
    add("--full-refresh", action="store_true", help="start over: re-read the source, relearn, rebuild")
    add("--retry-rejected", action="store_true", help="read what was refused once more, not the source: "
        "after a mapping was mended")  # fmt: skip
    add("--from-bronze", action="store_true", help="read no source: build from the events that "
        "jobs/stream_events.py brought")  # fmt: skip
    add("--dry-run", action="store_true", help="profile a sample and propose a config; writes nothing")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. sessions.gap=1h")
    return build(BuildRequest(**vars(parser.parse_args())))


if __name__ == "__main__":
    run(main)
