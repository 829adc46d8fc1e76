"""Every user's best items by a registered model, from the published sequences into a Delta table."""

from collections.abc import Mapping
from typing import Any

from jobs.entry import Parser, run
from pipelines.score import ScoreRequest, score_users

EXAMPLES = """\
  spark-submit jobs/score_users.py --warehouse demo/warehouse --model models:/seqloom@champion
  spark-submit jobs/score_users.py --warehouse demo/warehouse --model models:/seqloom/3 --top-k 50
The rows of a day (as_of, UTC) in WAREHOUSE/scores/users are replaced in one commit; where the same
version has scored the same publication, nothing is done. The model's own code scores, from the registry.
exit status: 0 done; 2 wrong arguments, no such model, nothing published; 4 another run holds the lock;
1 anything else. The last line of stdout is the summary (JSON)."""


def main() -> Mapping[str, Any]:
    parser = Parser(__doc__ or "", EXAMPLES)
    add = parser.add_argument
    add("--warehouse", required=True, metavar="DIR", help="the folder that a build wrote to")
    add("--model", required=True, metavar="URI", help="models:/NAME@champion or models:/NAME/VERSION")
    add("--top-k", type=int, default=10, metavar="K", help="items of each user (default: 10)")
    add("--tracking", metavar="URI", help="MLflow's tracking URI (default: MLFLOW_TRACKING_URI)")
    add("--again", action="store_true", help="score a day anew that this very model has scored")
    return score_users(ScoreRequest(**vars(parser.parse_args())))


if __name__ == "__main__":
    run(main)
