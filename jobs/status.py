"""What is published in a warehouse, what is running, how the last runs ended, and what to do next."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobs.entry import Parser, run
from pipelines.console import leaving_at_once
from pipelines.status import SHOWN_RUNS, read_status, render

EXAMPLES = """\
  python jobs/status.py --warehouse demo/warehouse
  python jobs/status.py --warehouse demo/warehouse --json | python -m json.tool
exit status: 0 done; 2 the folder is missing or is no warehouse. It needs no Spark and changes nothing."""


def main() -> Mapping[str, Any] | None:
    parser = Parser(__doc__ or "", EXAMPLES)
    parser.add_argument("--warehouse", required=True, metavar="DIR", help="the folder that a build wrote to")
    parser.add_argument("--runs", type=int, default=SHOWN_RUNS, metavar="N", help="how many runs to list")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line instead of text")
    arguments = parser.parse_args()
    status = read_status(arguments.warehouse, datetime.now(UTC), arguments.runs)
    if arguments.json:
        return status.to_json()
    print(render(status))
    return None


if __name__ == "__main__":
    with leaving_at_once():
        run(main)
