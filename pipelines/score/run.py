"""The job: the newest published sequences through one version of a model, into a day of ``scores/users``."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from pipelines.errors import ConfigError
from pipelines.lock import hold_lock
from pipelines.pointer import Published, require_published
from pipelines.progress import Progress
from pipelines.publish import read_published
from pipelines.score.model import ModelVersion, resolve
from pipelines.score.scores import ANSWERS, TABLE, last_rows, scorer
from pipelines.spark import start_spark
from pipelines.warehouse import Warehouse

SEQUENCES = "gold/user_sequences"
MADE_BY = ("model", "model_version", "publication", "top_k")
"""Columns of ``scores/users`` that say what made a row."""


@dataclass(frozen=True)
class ScoreRequest:
    """What the command line asks for."""

    warehouse: str
    model: str  # models:/NAME@champion or models:/NAME/VERSION
    top_k: int = 10
    tracking: str | None = None  # MLflow's URI; default: its environment variables
    again: bool = False  # score a day anew that this very model has scored


def score_users(request: ScoreRequest) -> Mapping[str, Any]:
    """Score every user as of the published version; the summary that becomes the last line of stdout.

    A day's rows are replaced in one commit. Nothing is done where the same version of the model has
    scored the same publication. Raises SeqloomError.
    """
    if request.top_k < 1:
        raise ConfigError(f"--top-k {request.top_k} must be at least 1")
    progress = Progress()
    pointer = require_published(request.warehouse)
    model = resolve(request.model, request.tracking)
    day = f"{pointer.as_of.astimezone(UTC):%Y-%m-%d}"
    made_by = dict(zip(MADE_BY, (model.name, model.version, pointer.number, request.top_k), strict=True))
    progress.say(f"{model.uri} on {request.warehouse}, publication {pointer.number}, as of {pointer.as_of}")
    run_id = f"score-{uuid.uuid4().hex[:8]}"
    with hold_lock(request.warehouse, run_id):
        with progress.stage("start Spark"):
            spark = start_spark("seqloom score")
        warehouse = Warehouse(spark, request.warehouse, run_id)
        if not request.again and scored_by(warehouse, day) == made_by:
            progress.say(f"{day} holds these scores already; --again scores it anew")
        else:
            with progress.stage("score") as stage:
                write_day(warehouse, pointer, model, day, made_by)
                stage.say(f"{TABLE}, day {day}")
        users = warehouse.read(TABLE).where(F.col("day") == day).count()
    return {
        "model": model.name,
        "model_version": model.version,
        "publication": pointer.number,
        "as_of": pointer.as_of.isoformat(),
        "day": day,
        "users": users,
        "versions": {TABLE: warehouse.version(TABLE)},
        "seconds": progress.seconds,
    }


def write_day(
    warehouse: Warehouse, pointer: Published, model: ModelVersion, day: str, made_by: Mapping[str, Any]
) -> None:
    """Put the scores of a day in place of those it had."""
    rows = last_rows(read_published(warehouse, SEQUENCES, pointer))
    score = scorer(model, pointer.as_of, made_by["top_k"])
    told = {name: F.lit(value) for name, value in made_by.items()}
    told |= {"as_of": F.lit(pointer.as_of).cast("timestamp"), "day": F.lit(day).cast("date")}
    frame = rows.mapInArrow(score, from_arrow_schema(ANSWERS)).withColumns(told)
    if warehouse.exists(TABLE):
        warehouse.replace(frame, TABLE, f"day = '{day}'")
    else:
        warehouse.append(frame, TABLE, partition_by=("day",))


def scored_by(warehouse: Warehouse, day: str) -> dict[str, Any] | None:
    """What made a day's scores; None where there are none."""
    if not warehouse.exists(TABLE):
        return None
    row = warehouse.read(TABLE).where(F.col("day") == day).select(*MADE_BY).first()
    return row.asDict() if row else None
