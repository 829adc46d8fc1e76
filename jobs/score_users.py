"""Every user's best items by a registered model, from the published sequences into a Delta table."""

from collections.abc import Mapping
from typing import Any

from jobs.entry import Parser, run
from pipelines.score import ScoreRequest, score_users

EXAMPLES = """\
  spark-submit jobs/score_users.py --warehouse demo/warehouse --model models:/seqloom@champion
  spark-submit jobs/score_users.py --warehouse demo/warehouse --model models:/seqloom/3 --top-k 50
  spark-submit jobs/score_users.py --warehouse demo/warehouse --model models:/seqloom@champion --embeddings
The rows of a day (as_of, UTC) in WAREHOUSE/scores/users are replaced in one commit; where the same
version has scored the same publication, nothing is done. The model's own code scores, from the registry.

--embeddings writes two more tables in the same way, for an ANN index searched by inner product:
  embeddings/items  item_id, category_id, vector: every item that the model knows
  embeddings/users  user_id, vectors: a list of (vector, weight, category_id)
An item's share for a user is the sum over the user's vectors of weight * softmax(vector . item vector),
the softmax over the items that the vector searches: all of them where its category_id is null, else those
of that category. Shares order items as the model's scores do. Most models have one vector a user; mos has
one for each expert, weighed by its gate; ulim one for all items and one for each category it searches.

exit status: 0 done; 2 wrong arguments, no such model, a model without vectors (--embeddings), nothing
published; 4 another run holds the lock; 1 anything else.
The last line of stdout is the summary (JSON): model, model_version, publication, as_of, day, users (scored
users of the day), items (exported items, with --embeddings), versions (of the tables), seconds."""


def main() -> Mapping[str, Any]:
    parser = Parser(__doc__ or "", EXAMPLES)
    add = parser.add_argument
    add("--warehouse", required=True, metavar="DIR", help="the folder that a build wrote to")
    add("--model", required=True, metavar="URI", help="models:/NAME@champion or models:/NAME/VERSION")
    add("--top-k", type=int, default=10, metavar="K", help="items of each user (default: 10)")
    add("--embeddings", action="store_true", help="write the vectors of users and items as well")
    add("--tracking", metavar="URI", help="MLflow's tracking URI (default: MLFLOW_TRACKING_URI)")
    add("--again", action="store_true", help="make a day anew that this very model has made")
    return score_users(ScoreRequest(**vars(parser.parse_args())))


if __name__ == "__main__":
    run(main)
