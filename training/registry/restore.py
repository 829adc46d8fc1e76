"""Runs and models as others left them: from a run folder, or from the registry alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import mlflow
from mlflow.entities.model_registry import ModelVersion
from torch import nn

from training.errors import DataError
from training.fit.config import Config
from training.fit.fitted import load_fitted
from training.fit.load import load_config
from training.registry.card import Tested, tested
from training.registry.finished import read_finished
from training.registry.logging import RUN
from training.registry.model_files import read_model
from training.registry.tracking import Tracking
from training.registry.versions import find, parse_uri
from training.vocabulary import TrainVocabulary

_REGISTERED: Final = "models:/"


@dataclass(frozen=True)
class Contestant:
    """A fitted model that can be asked, and where it came from."""

    label: str
    model: nn.Module  # on the CPU, in evaluation mode
    vocabulary: TrainVocabulary
    config: Config
    origin: Mapping[str, Any]  # run.json


def registered_run(version: ModelVersion, named: str) -> Tested:
    """What the run of a registered version was asked, came from and reached.

    DataError where the version was not registered by ``python -m training.registry``.
    """
    with TemporaryDirectory() as place:
        try:
            folder = Path(
                mlflow.artifacts.download_artifacts(run_id=run_id(version), artifact_path=RUN, dst_path=place)
            )
        except (OSError, mlflow.MlflowException) as error:
            raise DataError(
                f"{uri(version)}: the files of its run {version.run_id} cannot be had ({error}); name a "
                "version that python -m training.registry registered"
            ) from error
        test = folder / "test.json"
        return Tested(
            named,
            json.loads((folder / "run.json").read_text()),
            load_config(folder / "config.toml"),
            json.loads(test.read_text()) if test.exists() else {},
            json.loads((folder / "summary.json").read_text()),
        )


def contestant_of(version: ModelVersion, named: str) -> Contestant:
    """The model of a registered version, from the registry alone."""
    return with_model(registered_run(version, named), version)


def with_model(run: Tested, version: ModelVersion) -> Contestant:
    """A registered version's run with its model."""
    held = read_model(uri(version))
    return Contestant(run.label, held.model, held.vocabulary, run.config, run.origin)


def control_contestant(tracking: Tracking, text: str) -> Contestant:
    """A control: the folder of a finished run, or a registered model by its URI."""
    if text.startswith(_REGISTERED):
        version = find(tracking.client, *parse_uri(text))
        return contestant_of(version, f"control {version.name} v{version.version}")
    run, fitted = read_finished(text), load_fitted(text)
    return Contestant(f"control {run.name}", fitted.model, fitted.vocabulary, run.config, run.origin)


def control_tested(tracking: Tracking, text: str) -> Tested:
    """What a control reached: a run folder or a registered model."""
    if text.startswith(_REGISTERED):
        version = find(tracking.client, *parse_uri(text))
        return registered_run(version, f"control {version.name} v{version.version}")
    run = read_finished(text)
    return tested(run, f"control {run.name}")


def artifact_text(run_id: str, path: str) -> str:
    """A text artifact of an MLflow run."""
    text: str = mlflow.artifacts.load_text(f"runs:/{run_id}/{path}")
    return text


def run_id(version: ModelVersion) -> str:
    """The MLflow run that a version came from; DataError where it names none."""
    if version.run_id is None:
        raise DataError(f"{uri(version)} names no run; register it with python -m training.registry register")
    return str(version.run_id)


def uri(version: ModelVersion) -> str:
    """``models:/NAME/VERSION``."""
    return f"{_REGISTERED}{version.name}/{version.version}"
