"""Where runs and models are kept: any MLflow server, or SQLite and a folder of artifacts."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mlflow
from mlflow import MlflowClient

from training.errors import ConfigError

DEFAULT_FOLDER: Final = "registry"
"""Where nothing is said: SQLite in ``registry/mlflow.db``, artifacts in ``registry/artifacts``."""

DEFAULT_EXPERIMENT: Final = "seqloom"
ARTIFACTS: Final = "artifacts"
DATABASE: Final = "mlflow.db"


@dataclass(frozen=True)
class Tracking:
    """A connected tracking server and registry, and the experiment that runs go to."""

    client: MlflowClient
    uri: str
    experiment: str  # its id


def connect(where: str | None = None) -> Tracking:
    """The server or folder ``where``, else the one of MLflow's own variables, else ``DEFAULT_FOLDER``.

    ``where`` is a tracking URI, or the path of a folder that gets (or has) a SQLite database and the
    artifacts. The experiment is that of MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME, else ``seqloom``;
    it is made where there is none. MLflow's fluent functions go there from now on.

    Raises ConfigError where a database other than SQLite is given without a place for artifacts.
    """
    uri = tracking_uri(where, os.environ.get("MLFLOW_TRACKING_URI"))
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    return Tracking(client, uri, os.environ.get("MLFLOW_EXPERIMENT_ID") or _experiment(client, uri))


def tracking_uri(where: str | None, variable: str | None) -> str:
    """The URI that an argument, else the variable, else the default folder stands for.

    >>> tracking_uri("http://127.0.0.1:5000", None)
    'http://127.0.0.1:5000'
    """
    asked = where or variable or DEFAULT_FOLDER
    if ":" in asked or asked == "databricks":
        return asked
    folder = Path(asked).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / DATABASE}"


def _experiment(client: MlflowClient, uri: str) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=_artifact_root(uri)))


def _artifact_root(uri: str) -> str | None:
    """Where a new experiment's artifacts go; None where the server decides."""
    scheme, _, rest = uri.partition("://")
    if scheme in ("http", "https", "databricks"):
        return None
    if root := os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT"):
        return root
    if scheme == "sqlite":
        return (Path(rest.removeprefix("/")).resolve().parent / ARTIFACTS).as_uri()
    raise ConfigError(
        f"tracking {scheme}://…: a database says nothing of where artifacts go; set "
        "MLFLOW_DEFAULT_ARTIFACT_ROOT, or name an mlflow server that stands before it"
    )
