"""Remove users for good: from every table, old version, log and document; and prove it."""

from collections.abc import Mapping
from typing import Any

from jobs.entry import Parser, run
from pipelines.erasure import EraseRequest, erase_users

EXAMPLES = """\
  spark-submit jobs/erase_users.py --warehouse warehouse --user 1000169 --dry-run
      where the user stands, and how many rows would go; writes nothing
  spark-submit jobs/erase_users.py --warehouse warehouse --user 1000169 --user 1000240
  spark-submit jobs/erase_users.py --warehouse warehouse --users erase.txt --tracking sqlite:///registry/mlflow.db
Old versions of the tables go too, also those that a model names: such models are tagged erased_users and
erased_at, and cannot be rebuilt. The users are kept out of every later ingest by a keyed hash. The key is the
text of SEQLOOM_ERASURE_KEY, else of WAREHOUSE/ops/_erasure_key: back it up. Running it again is safe.

exit status: 0 done, and proven by a scan that found the users before and not after; 1 an id still stands
somewhere (the places are named), or anything else; 2 wrong arguments, or nobody knows these users; 4 another
run holds the lock. The last line of stdout is the receipt (JSON), which ops/erasures keeps."""


def main() -> Mapping[str, Any]:
    parser = Parser(__doc__ or "", EXAMPLES)
    add = parser.add_argument
    add("--warehouse", required=True, metavar="DIR", help="the folder that a build wrote to")
    add("--user", action="append", default=[], metavar="ID", help="a user id; may be repeated")
    add("--users", metavar="FILE", help="user ids, one a line")
    add("--tracking", metavar="URI", help="MLflow's tracking URI (default: MLFLOW_TRACKING_URI)")
    add("--dry-run", action="store_true", help="say where the users stand; writes nothing")
    return erase_users(EraseRequest(**vars(parser.parse_args())))


if __name__ == "__main__":
    run(main)
