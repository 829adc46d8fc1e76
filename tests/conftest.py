"""Fixtures that every test may use; Spark starts once for a whole run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A first example may import modules, and machines differ: time says nothing about a rule.
settings.register_profile("seqloom", deadline=None)
settings.load_profile("seqloom")

SHARED_DATA = os.environ.get("SEQLOOM_SHARED_DATA")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:  # noqa: F821
    from pipelines.small import JAVA_OPTIONS
    from pipelines.spark import start_spark

    settings = {
        "spark.master": "local[2]",
        "spark.driver.memory": "2g",
        "spark.driver.extraJavaOptions": JAVA_OPTIONS,
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("spark-warehouse")),
        "spark.databricks.delta.snapshotPartitions": "1",
    }
    session = start_spark("seqloom-tests", settings)
    yield session
    session.stop()


@pytest.fixture
def shared_data() -> Path:
    """Folder of the real data sets, for those who have it."""
    if SHARED_DATA is None:
        pytest.skip("set SEQLOOM_SHARED_DATA to the folder with taobao/ and globo/")
    return Path(SHARED_DATA)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)
