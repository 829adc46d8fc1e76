"""Put the tables' small files together and remove old ones that no publication and no model needs."""

from collections.abc import Mapping
from typing import Any

from jobs.entry import Parser, run
from pipelines.maintenance import MaintainRequest, maintain_tables

EXAMPLES = """\
  spark-submit jobs/maintain_tables.py --warehouse warehouse
      sizes, and what would be put together and removed; writes nothing
  spark-submit jobs/maintain_tables.py --warehouse warehouse --tracking sqlite:///registry/mlflow.db --apply
  spark-submit jobs/maintain_tables.py --warehouse warehouse --keep-days 30 --file-mb 128 --apply
A version stays readable that is or was the published one in the last --keep-days, or that a registered model
names (as python -m training.registry tags it). Where no registry is named, every publication stays. No row
changes.

exit status: 0 done; 2 wrong arguments; 4 another run holds the lock; 1 anything else.
The last line of stdout is the summary (JSON), with the sizes before and after."""


def main() -> Mapping[str, Any]:
    parser = Parser(__doc__ or "", EXAMPLES)
    add = parser.add_argument
    add("--warehouse", required=True, metavar="DIR", help="the folder that a build wrote to")
    add("--keep-days", type=float, default=7.0, metavar="N", help="how long old publications stay (7)")
    add("--file-mb", type=int, default=64, metavar="MB", help="size of compacted files (64)")
    add("--tracking", metavar="URI", help="MLflow's tracking URI (default: MLFLOW_TRACKING_URI)")
    add("--apply", action="store_true", help="do it; without, nothing is written")
    return maintain_tables(MaintainRequest(**vars(parser.parse_args())))


if __name__ == "__main__":
    run(main)
