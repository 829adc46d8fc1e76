"""Who decides on Spark's settings, and how many partitions a shuffle has."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.spark import SHUFFLE, session_cores, shuffle_partitions, start_spark

SCRIPT = """\
import json
from pipelines.spark import start_spark

given = {"spark.sql.parquet.compression.codec": "lz4", "spark.sql.adaptive.enabled": "false"}
spark = start_spark("submitted", given)
keys = "shuffle.partitions parquet.compression.codec adaptive.enabled session.timeZone".split()
print(json.dumps([spark.conf.get(f"spark.sql.{key}") for key in keys]))
"""


@pytest.mark.parametrize(("cores", "partitions"), [(1, 8), (2, 8), (4, 8), (5, 10), (64, 128)])
def test_a_shuffle_has_work_for_every_core_twice(cores, partitions):
    assert shuffle_partitions(cores) == partitions


@pytest.mark.parametrize(
    ("settings", "cores"),
    [
        ({}, 3),
        ({"spark.executor.instances": "10", "spark.executor.cores": "4"}, 40),
        ({"spark.executor.instances": "10"}, 10),
        ({"spark.cores.max": "24", "spark.executor.cores": "4"}, 24),
        ({"spark.executor.instances": "1"}, 3),
    ],
)
def test_executors_count_before_they_have_registered(settings, cores):
    context = SimpleNamespace(defaultParallelism=3, getConf=lambda: settings)
    assert session_cores(SimpleNamespace(sparkContext=context)) == cores


def test_the_session_decides_unless_somebody_else_does(spark):
    before = spark.conf.get(SHUFFLE)
    try:
        assert start_spark("test", {SHUFFLE: "3"}).conf.get(SHUFFLE) == "3"
        assert start_spark("test").conf.get(SHUFFLE) == "8", "of two cores"
    finally:
        spark.conf.set(SHUFFLE, before)


@pytest.mark.spark
def test_what_spark_submit_says_wins(tmp_path):
    """But for what the tables rest on, such as UTC."""
    import pyspark

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    told = {"shuffle.partitions": "5", "parquet.compression.codec": "gzip", "session.timeZone": "CET"}
    words = [word for key, value in told.items() for word in ("--conf", f"spark.sql.{key}={value}")]
    own = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYSPARK_PYTHON": sys.executable}
    own |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYSPARK_GATEWAY")}
    done = subprocess.run(
        [f"{Path(pyspark.__file__).parent}/bin/spark-submit", "--driver-memory", "1g", *words, str(script)],
        env=inherited | own, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == ["5", "gzip", "false", "UTC"]
