"""The job: the newest published sequences through one version of a model, into a day of its tables."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from features.embeddings import ITEM_VECTORS, USER_VECTORS
from pipelines.errors import ConfigError
from pipelines.lock import located
from pipelines.pointer import Published, require_published
from pipelines.progress import Progress
from pipelines.publish import read_published
from pipelines.score.embeddings import ITEMS, USERS, item_vectors, require_vectors, user_vectors
from pipelines.score.model import ModelVersion, resolve
from pipelines.score.scores import ANSWERS, TABLE, last_rows, scorer
from pipelines.spark import start_spark
from pipelines.turns import hold_lock_in_turn
from pipelines.warehouse import Warehouse
from pipelines.workers import in_workers

SEQUENCES = "gold/user_sequences"


@dataclass(frozen=True)
class ScoreRequest:
    """What the command line asks for."""

    warehouse: str
    model: str  # models:/NAME@champion or models:/NAME/VERSION
    top_k: int = 10
    embeddings: bool = False  # vectors of users and items as well
    tracking: str | None = None  # MLflow's URI; default: its environment variables
    again: bool = False  # make a day anew that this very model has made


@dataclass(frozen=True)
class Output:
    """A table of the job, the rows of a day, and the columns that say what made them."""

    table: str
    rows: DataFrame
    made_by: Mapping[str, Any]


def score_users(request: ScoreRequest) -> Mapping[str, Any]:
    """Score every user as of the published version; the summary that becomes the last line of stdout.

    A day's rows of a table are replaced in one commit. Nothing is done where the same version of the
    model has made them from the same publication. Raises SeqloomError.
    """
    if request.top_k < 1:
        raise ConfigError(f"--top-k {request.top_k} must be at least 1")
    request = replace(request, warehouse=located(request.warehouse))
    progress = Progress()
    pointer = require_published(request.warehouse)
    model = resolve(request.model, request.tracking)
    if request.embeddings:
        require_vectors(model)
    day = f"{pointer.as_of.astimezone(UTC):%Y-%m-%d}"
    progress.say(f"{model.uri} on {request.warehouse}, publication {pointer.number}, as of {pointer.as_of}")
    run_id = f"score-{uuid.uuid4().hex[:8]}"
    with hold_lock_in_turn(request.warehouse, run_id, progress) as lock:
        with progress.stage("start Spark"):
            spark = start_spark("seqloom score", places=[f"{request.warehouse}/bronze"])
        warehouse = Warehouse(spark, request.warehouse, run_id)
        versions = {}
        for output in outputs(warehouse, request, pointer, model):
            if not request.again and made_by(warehouse, output, day) == output.made_by:
                progress.say(f"{output.table}: {day} is there already; --again makes it anew")
            else:
                with progress.stage(output.table) as stage:
                    write_day(warehouse, output, pointer, day)
                    if lock is not None:
                        lock.require_held()  # an erasure meanwhile would not know these rows
                    stage.say(f"day {day}")
            versions[output.table] = warehouse.version(output.table)
        counted = {"users": TABLE} | ({"items": ITEMS} if request.embeddings else {})
        counts = {name: of_day(warehouse, table, day).count() for name, table in counted.items()}
    return {
        "model": model.name,
        "model_version": model.version,
        "publication": pointer.number,
        "as_of": pointer.as_of.isoformat(),
        "day": day,
        **counts,
        "versions": versions,
        "seconds": progress.seconds,
    }


def outputs(
    warehouse: Warehouse, request: ScoreRequest, pointer: Published, model: ModelVersion
) -> Iterator[Output]:
    """What was asked for; Spark computes the rows where they are written."""
    rows = last_rows(read_published(warehouse, SEQUENCES, pointer))
    told = {"model": model.name, "model_version": model.version, "publication": pointer.number}
    scores = in_workers(rows, scorer(model, pointer.as_of, request.top_k), from_arrow_schema(ANSWERS))
    yield Output(TABLE, scores, told | {"top_k": request.top_k})
    if request.embeddings:
        users = in_workers(rows, user_vectors(model, pointer.as_of), from_arrow_schema(USER_VECTORS))
        yield Output(USERS, users, told)
        items = in_workers(warehouse.spark.range(1), item_vectors(model), from_arrow_schema(ITEM_VECTORS))
        yield Output(ITEMS, items, told)


def write_day(warehouse: Warehouse, output: Output, pointer: Published, day: str) -> None:
    """Put the rows of a day in place of those it had."""
    told = {name: F.lit(value) for name, value in output.made_by.items()}
    told |= {"as_of": F.lit(pointer.as_of).cast("timestamp"), "day": F.lit(day).cast("date")}
    frame = output.rows.withColumns(told)
    if warehouse.exists(output.table):
        warehouse.replace(frame, output.table, f"day = '{day}'")
    else:
        warehouse.append(frame, output.table, partition_by=("day",))


def made_by(warehouse: Warehouse, output: Output, day: str) -> dict[str, Any] | None:
    """What made the rows of a day that a table holds; None where there are none."""
    if not warehouse.exists(output.table):
        return None
    row = of_day(warehouse, output.table, day).select(*output.made_by).first()
    return row.asDict() if row else None


def of_day(warehouse: Warehouse, table: str, day: str) -> DataFrame:
    """The rows of a day."""
    return warehouse.read(table).where(F.col("day") == day)
