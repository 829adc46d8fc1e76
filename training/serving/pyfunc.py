"""The model as MLflow loads it: *models from code*, with the bundle as its only artifact.

MLflow runs this file by its path, at logging and at loading; nothing is pickled.
"""

from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from training.errors import RequestError
from training.serving.bundle import load_bundle
from training.serving.served import Served


class Recommender(PythonModel):
    """Raw recent events in, one answer a user out; see ``Served.recommend``."""

    served: Served

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle."""
        self.served = load_bundle(context.artifacts["bundle"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The answers; a request at fault ends as INVALID_PARAMETER_VALUE, which is HTTP 400."""
        given = params or {}
        try:
            return self.served.recommend(
                model_input,
                top_k=given.get("top_k", 10),
                as_of=given.get("as_of") or None,
                ts_unit=given.get("ts_unit", ""),
            )
        except RequestError as error:
            raise MlflowException.invalid_parameter_value(error.line) from error


set_model(Recommender())
