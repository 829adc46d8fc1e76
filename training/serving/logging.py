"""Put a bundle into an MLflow run as a model."""

from pathlib import Path

import mlflow
from mlflow.models.model import ModelInfo

from training.serving.contract import code_paths, input_example, pyfunc_script, requirements, signature


def log_bundle(bundle_dir: str | Path, name: str | None = None) -> ModelInfo:
    """Log the bundle into the active run under ``name`` (default: ``model``)."""
    info: ModelInfo = mlflow.pyfunc.log_model(
        name=name or "model",
        python_model=str(pyfunc_script()),
        artifacts={"bundle": str(bundle_dir)},
        code_paths=code_paths(),
        signature=signature(),
        input_example=input_example(bundle_dir),
        pip_requirements=requirements(),
    )
    return info
