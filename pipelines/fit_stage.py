"""The fit of a run: the published one, reused, or a new one, learned and written."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame, SparkSession

from features.tags import FittedThemes
from pipelines.errors import ConfigError
from pipelines.fit.artefact import Fit
from pipelines.fit.learning import learn
from pipelines.fit.options import EmbeddingOptions, FitOptions, HopOptions, ThemeOptions
from pipelines.fit.tables import fit_rows, load_fit
from pipelines.instants import from_micros, to_micros
from pipelines.rules import session_rule
from pipelines.run_context import Run
from pipelines.train_end import choose_train_end

if TYPE_CHECKING:
    from pipelines.build import BuildRequest


@dataclass(frozen=True)
class FittedRun:
    """The fit that a run applies, and what to tell about it."""

    fit_id: str
    train_end: datetime
    themes: FittedThemes
    notes: dict[str, Any]

    def broadcast(self, spark: SparkSession) -> Broadcast[FittedThemes]:
        """The fit on every worker: items × dimensions × 4 bytes and the centroids."""
        return spark.sparkContext.broadcast(self.themes)


def published_fit(run: Run, request: "BuildRequest") -> FittedRun | None:
    """The published fit where ``--fit`` has it used again; None where a new one is to be learned.

    ``auto`` learns where nothing is published or the run starts over, else reuses; ``frozen`` insists on
    reuse and raises ConfigError where there is none; ``refit`` learns anew.
    """
    old_id = run.pointer.fit_id if run.pointer else None
    if old_id is None and request.fit == "frozen":
        raise ConfigError(
            f"--fit frozen: {run.config.warehouse} has no published fit yet; run once with --fit auto"
        )
    if old_id is None or request.fit == "refit" or (request.fit == "auto" and request.full_refresh):
        return None
    run.progress.say(f"fit {old_id} reused")
    return _fitted(load_fit(run.warehouse.read, old_id), learned=False)


def learn_fit(run: Run, ordered: DataFrame, events: DataFrame, as_of: datetime) -> FittedRun:
    """Learn a fit and write it; theme ids of a published one go on.

    ``events`` are bronze events before ``as_of``; what is learned sees those before ``train_end`` only.
    """
    old_id = run.pointer.fit_id if run.pointer else None
    previous = None if old_id is None else load_fit(run.warehouse.read, old_id)
    with run.progress.stage("fit: item vectors, themes, hop null") as stage:
        chosen = run.config.fit.train_end or choose_train_end(events, as_of, run.config.fit.train_share)
        fit = learn(
            ordered,
            session_rule(run.config),
            fit_options(run),
            to_micros(min(chosen, as_of)),
            previous,
        )
        if fit.fit_id != old_id:  # the very same fit is there already
            for table, rows in fit_rows(fit, run.run_id).items():
                run.warehouse.append_arrow(rows, table)
        stage.say(f"{fit.sizes['items_with_vector']:,} item vectors, {len(fit.themes)} themes")
        if fit.silhouette is not None:
            stage.say(f"silhouette {fit.silhouette:.2f}")
    return _fitted(fit, learned=True)


def fit_options(run: Run) -> FitOptions:
    """The configured settings of a fit."""
    return FitOptions(
        EmbeddingOptions(**run.config.embeddings.model_dump()),
        ThemeOptions(**run.config.themes.model_dump()),
        HopOptions(**run.config.hops.model_dump()),
    )


def _fitted(fit: Fit, learned: bool) -> FittedRun:
    assert fit.train_end is not None
    train_end = from_micros(fit.train_end)
    notes = {
        "learned": learned,
        "train_end": train_end.isoformat(),
        "silhouette": fit.silhouette,
        "counts_tried": fit.counts_tried,
        "sizes": fit.sizes,
        "drift": None if fit.drift is None else asdict(fit.drift),
    }
    return FittedRun(fit.fit_id, train_end, fit.fitted, notes)
