"""Fixtures of the tests of pipelines."""

import pytest


@pytest.fixture(autouse=True)
def _no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that another test named (MLflow keeps it in the environment) is none of these tests'."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
