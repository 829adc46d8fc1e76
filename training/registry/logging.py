"""A finished run folder as one MLflow run: parameters, figures, curves, plots, data, card and model."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import mlflow
import pandas as pd
from mlflow.entities import Metric, Param, Run
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from training.evaluate.plots import plot_slices
from training.evaluate.report import LABELS
from training.registry.card import Tested, card, metric_of, same_test, tested
from training.registry.datasets import inputs
from training.registry.figures import figures, packed, params
from training.registry.finished import FinishedRun
from training.registry.model_files import log_model
from training.registry.tracking import Tracking

RUN: Final = "run"
"""Folder of a run's artifacts that holds what the fit wrote."""

CARD: Final = "card.md"
AS_OF_TAG: Final = "seqloom.as_of"
KEY_TAG: Final = "seqloom.run"
NAME_TAG: Final = "seqloom.name"
WEIGHTS_TAG: Final = "seqloom.weights_sha256"
_FILES: Final = ("config.toml", "run.json", "summary.json", "test.json", "metrics.jsonl")
_METRICS_AT_ONCE, _PARAMS_AT_ONCE = 1000, 100  # MLflow's own limits


def lineage_tags(run: FinishedRun) -> dict[str, str]:
    """Tags of an MLflow run and of a model version: by which they can be traced and found."""
    table = run.origin["table"]
    return {
        KEY_TAG: run.key,
        WEIGHTS_TAG: run.weights,
        "seqloom.model": run.config.model.name,
        "seqloom.seed": str(run.config.seed),
        "seqloom.config": run.config.fingerprint,
        "seqloom.commit": run.commit or "unknown",
        "seqloom.dirty": str(run.dirty).lower(),
        "seqloom.table": str(table["path"]),
        "seqloom.table_id": str(table.get("id", "")),  # runs of before have none
        "seqloom.table_version": str(table["version"]),
        "seqloom.table_versions": json.dumps(table["versions"], sort_keys=True),
        "seqloom.publication": str(table["publication"]),
        AS_OF_TAG: str(table["as_of"]),
        "seqloom.fit": str(table["fit_id"]),
    }


def log_run(tracking: Tracking, run: FinishedRun, name: str, rivals: Sequence[Tested]) -> Run:
    """Log everything of a finished run and its model; the MLflow run fails with whatever fails in here."""
    tags = lineage_tags(run) | {NAME_TAG: name}
    if run.commit is not None:
        tags[MLFLOW_GIT_COMMIT] = run.commit
    with mlflow.start_run(experiment_id=tracking.experiment, run_name=run.name, tags=tags) as active:
        run_id = active.info.run_id
        for some in packed([Param(*pair) for pair in params(run.config).items()], _PARAMS_AT_ONCE):
            tracking.client.log_batch(run_id, params=some)
        for context, dataset in inputs(run.origin).items():
            mlflow.log_input(dataset, context=context)
        info = log_model(run.folder.root, run.config.model.name)
        _log_figures(tracking, run, run_id, info.model_id)
        _log_artifacts(tracking, run, run_id, card(run, name, rivals), rivals)
    return tracking.client.get_run(run_id)


def _log_figures(tracking: Tracking, run: FinishedRun, run_id: str, model_id: str) -> None:
    """Figures of the run; the test's and the best validation's are the model's as well."""
    now = int(time.time() * 1000)
    found = [
        Metric(
            figure.name,
            figure.value,
            now,
            figure.step,
            model_id=model_id if figure.name.startswith(("test/", "best/")) else None,
            run_id=run_id,
        )
        for figure in figures(run)
    ]
    for some in packed(found, _METRICS_AT_ONCE):
        tracking.client.log_batch(run_id, metrics=some)


def _log_artifacts(
    tracking: Tracking, run: FinishedRun, run_id: str, text: str, rivals: Sequence[Tested]
) -> None:
    client, root = tracking.client, run.folder.root
    for name in _FILES:
        if (root / name).exists():
            client.log_artifact(run_id, str(root / name), RUN)
    client.log_text(run_id, text, CARD)
    if (root / "curves.png").exists():
        client.log_artifact(run_id, str(root / "curves.png"), "plots")
    if run.test:
        with TemporaryDirectory() as place:
            path = Path(place) / "slices.png"
            _plot(run, rivals, path)
            client.log_artifact(run_id, str(path), "plots")


def _plot(run: FinishedRun, rivals: Sequence[Tested], path: Path) -> None:
    """The deciding figure by slice, beside those of the runs that were tested on the same targets."""
    own, metric = tested(run, run.name), metric_of(run.config)
    shown = [own, *(rival for rival in rivals if same_test(own, rival))]
    rows = [
        (one.label, run.name, part, metric, values[metric])
        for one in shown
        for part, values in one.test.items()
        if metric in values
    ]
    table = pd.DataFrame(rows, columns=["model", "data", "slice", "metric", "value"])
    title = f"{metric} of {run.name} on the test window"
    plot_slices(table, run.name, metric, list(LABELS), path, title=title)
