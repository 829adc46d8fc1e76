"""Fixtures of the tests of streams."""

from tests.pipelines.conftest import _no_registry  # noqa: F401
