"""Clickstream events into bronze as they arrive, in files or from Kafka: each exactly once."""

from collections.abc import Mapping
from typing import Any

from jobs.entry import Parser, run
from pipelines.streaming import StreamRequest, stream
from pipelines.streaming.request import MAX_FILES, MAX_OFFSETS, TRIGGER

EXAMPLES = """\
  spark-submit jobs/stream_events.py --config conf/my.toml --source arriving/ --trigger 30s
  spark-submit jobs/stream_events.py --config conf/my.toml --kafka broker:9092 --topic clicks
  spark-submit jobs/stream_events.py --config conf/my.toml --source arriving/ --once
      take in what has arrived since, and end
  spark-submit jobs/build_sequences.py --config conf/my.toml --from-bronze
      the sequences of what streams brought, as often as you like, beside them
A file is read once: move it into the folder when it is complete. A Kafka record is one JSON object.
SIGTERM and SIGINT end it after the batch at work; the next start goes on where it was, killed or not.
exit status: 0 done or stopped; 2 wrong arguments, config or source; 4 another process reads this stream;
1 anything else. The last line of stdout is the summary (JSON)."""


def main() -> Mapping[str, Any]:
    parser = Parser(__doc__ or "", EXAMPLES)
    add = parser.add_argument
    add("--config", metavar="FILE", help="TOML file, the same as the build's")
    add("--source", metavar="PATH", help="folder in which files arrive, over the config's")
    add("--kafka", metavar="BOOTSTRAP", help="Kafka's servers as host:port[,host:port], in place of a folder")
    add("--topic", metavar="T", help="the topic to read")
    add("--warehouse", metavar="DIR", help="where the tables lie, over the config's")
    add("--trigger", default=TRIGGER, metavar="TIME", help=f"a batch every so often (default {TRIGGER})")
    add(
        "--once",
        action="store_true",
        help="take in what is there now, in as many batches as it takes, and end",
    )
    add(
        "--max-files",
        type=int,
        default=MAX_FILES,
        metavar="N",
        help=f"files in a batch (default {MAX_FILES})",
    )
    add("--max-offsets", type=int, default=MAX_OFFSETS, metavar="N",
        help=f"Kafka records in a batch (default {MAX_OFFSETS:,})")  # fmt: skip
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override, e.g. ingest.max_clock_skew=1h",
    )
    return stream(StreamRequest(**vars(parser.parse_args())))


if __name__ == "__main__":
    run(main)
