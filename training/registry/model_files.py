"""A model as MLflow stores it: the serving bundle, written from a run and read back without pickle."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import mlflow
from mlflow.models.model import ModelInfo

from training.serving.bundle import load_bundle, write_bundle
from training.serving.logging import log_bundle
from training.serving.served import Served

_BUNDLE: Final = "artifacts/bundle"
"""Where the bundle lies inside a logged model."""


def log_model(run_folder: Path, name: str) -> ModelInfo:
    """Log a finished run's model to the active MLflow run, with signature, input example, requirements.

    ``name`` is what MLflow lists it as.
    """
    with TemporaryDirectory() as place:
        bundle = Path(place) / "bundle"
        write_bundle(run_folder, bundle)
        return log_bundle(bundle, name)


def read_model(model_uri: str) -> Served:
    """The model that a registered version or a logged model holds; no code of it is run."""
    with TemporaryDirectory() as place:
        folder = mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=place)
        return load_bundle(Path(folder) / _BUNDLE)
