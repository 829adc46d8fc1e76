"""Which version of a registered model an address means, and the code that loads it where it is used."""

import sys
from functools import cache
from typing import Any, NamedTuple

import mlflow
from mlflow.exceptions import MlflowException

from pipelines.errors import ConfigError

CODE = ("features", "training")
"""Packages that a model brings along: the code it was registered with, not this checkout's."""


class ModelVersion(NamedTuple):
    """A registered version, and where it is registered."""

    name: str
    version: int
    tracking: str

    @property
    def uri(self) -> str:
        """Its address for good, whatever aliases do."""
        return f"models:/{self.name}/{self.version}"


def resolve(address: str, tracking: str | None = None) -> ModelVersion:
    """The version behind ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    ``tracking`` is MLflow's tracking URI, by default that of its environment variables. ConfigError where
    there is no such version.
    """
    where = tracking or mlflow.get_tracking_uri()
    client = mlflow.MlflowClient(where)
    name, at, alias = address.removeprefix("models:/").partition("@")
    try:
        if at:
            found = client.get_model_version_by_alias(name, alias)
        else:
            name, _, version = name.rpartition("/")
            found = client.get_model_version(name, version)
    except MlflowException as error:
        raise ConfigError(
            f"--model {address}: not in the registry at {where}: {error.message}; "
            "write models:/NAME@champion or models:/NAME/VERSION, and see python -m training.registry show"
        ) from None
    return ModelVersion(found.name, int(found.version), where)


@cache
def load(model: ModelVersion) -> Any:
    """The model as its own code offers it, once a process.

    Modules of ``CODE`` that the process has loaded are dropped first: MLflow puts the model's code on the
    path, and Python would take what it has.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] in CODE]:
        del sys.modules[name]
    mlflow.set_tracking_uri(model.tracking)
    return mlflow.pyfunc.load_model(model.uri).unwrap_python_model()
