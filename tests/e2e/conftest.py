"""Fixtures of the end-to-end tests; reports that several test files look at are built once."""

import pytest

from tests.e2e.reports import Reported, build_reports
from tests.pipelines.conftest import _no_registry  # noqa: F401


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory, spark: object) -> Reported:
    return build_reports(tmp_path_factory.mktemp("reported"))
