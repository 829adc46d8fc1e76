"""``register``: a finished run folder becomes a version of a registered model, once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from training.command import say
from training.registry.card import Tested
from training.registry.finished import FinishedRun, read_finished
from training.registry.logging import CARD, KEY_TAG, NAME_TAG, lineage_tags, log_run
from training.registry.restore import artifact_text, control_tested, registered_run, uri
from training.registry.tracking import Tracking
from training.registry.versions import champion_of, cut, find


def register(
    tracking: Tracking, folder: str | Path, name: str, controls: Sequence[str] = ()
) -> dict[str, Any]:
    """Log a finished run and register its model; a run that is registered already keeps its version.

    ``controls`` are run folders or model URIs whose figures go onto the card. Raises DataError where the
    folder holds no finished run.
    """
    run = read_finished(folder)
    version = _registered(tracking, run, name)
    new = version is None
    if version is None:
        say(f"logging {run.folder.root} …")
        logged = _logged(tracking, run, name) or log_run(
            tracking, run, name, _rivals(tracking, name, controls)
        )
        version = _create(tracking, run, name, logged)
    say(f"{uri(version)}: " + ("registered" if new else "was registered before; nothing is logged again"))
    return {
        "name": name,
        "version": int(version.version),
        "model_uri": uri(version),
        "new": new,
        "run_id": version.run_id,
        "model": run.config.model.name,
        "test": run.summary["test"],
    }


def _registered(tracking: Tracking, run: FinishedRun, name: str) -> ModelVersion | None:
    """The version that this run has under the name already."""
    found = tracking.client.search_model_versions(f"name='{name}' and tag.`{KEY_TAG}`='{run.key}'")
    return min(found, key=lambda version: int(version.version)) if found else None


def _logged(tracking: Tracking, run: FinishedRun, name: str) -> Run | None:
    """The MLflow run that this run was logged to whole, though it has no version."""
    asked = f"tags.`{KEY_TAG}`='{run.key}' and tags.`{NAME_TAG}`='{name}' and attributes.status='FINISHED'"
    found = tracking.client.search_runs([tracking.experiment], asked, max_results=1)
    return found[0] if found else None


def _rivals(tracking: Tracking, name: str, controls: Sequence[str]) -> list[Tested]:
    """The controls, and the present champion where there is one."""
    found = [control_tested(tracking, control) for control in controls]
    champion = champion_of(tracking.client, name)
    if champion is not None:
        found.append(registered_run(find(tracking.client, name, champion), f"champion v{champion}"))
    return found


def _create(tracking: Tracking, run: FinishedRun, name: str, logged: Run) -> ModelVersion:
    """Make the version, with its tags and its card from the beginning."""
    try:
        tracking.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    assert logged.outputs is not None  # log_run logged a model
    (model,) = logged.outputs.model_outputs
    return tracking.client.create_model_version(
        name,
        source=f"models:/{model.model_id}",
        run_id=logged.info.run_id,
        tags=lineage_tags(run),
        description=cut(artifact_text(logged.info.run_id, CARD)),
        model_id=model.model_id,
    )
