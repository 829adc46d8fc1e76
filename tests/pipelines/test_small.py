"""What counts as little data, and that a larger job in the same session forgets it."""

import os
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines.packages import find_java
from pipelines.small import JAVA_OPTIONS, PACKED, SETTINGS, SMALL_BYTES, is_small
from pipelines.spark import start_spark

COMPILED = "spark.sql.codegen.wholeStage"


def put(path: Path, size: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return str(path)


@pytest.mark.parametrize(("name", "factor"), [("a.csv", 1), ("a.csv.gz", PACKED), ("a.parquet", PACKED)])
def test_packed_files_count_for_more(tmp_path: Path, name: str, factor: int) -> None:
    file = put(tmp_path / "in" / name, SMALL_BYTES // factor)
    assert is_small([file]) and is_small([str(tmp_path / "in"), str(tmp_path / "missing")])
    put(tmp_path / "bronze" / "b.csv", factor)
    assert not is_small([file, f"file://{tmp_path}/bronze"])


def test_what_lies_elsewhere_is_never_small() -> None:
    assert not is_small(["s3a://bucket/events"])


def test_the_session_follows_its_job(spark: SparkSession, tmp_path: Path) -> None:
    before = {key: spark.conf.get(key, None) for key in SETTINGS if spark.conf.isModifiable(key)}
    small, large = put(tmp_path / "small.csv", 1), put(tmp_path / "large.csv", SMALL_BYTES + 1)
    try:
        assert start_spark("test", places=[small]).conf.get(COMPILED) == "false"
        assert start_spark("test", {COMPILED: "true"}, [small]).conf.get(COMPILED) == "true"
        assert start_spark("test", places=[small]).conf.get(COMPILED) == "false"
        assert start_spark("test").conf.get(COMPILED) == "false", "no place is named: as it was"
        assert start_spark("test", places=[large]).conf.get(COMPILED) == "true"
    finally:
        for key, value in before.items():
            if value is not None:
                spark.conf.set(key, value)


def reserved_for_code(*options: str) -> int:
    """Bytes, by the JVM's own word."""
    java = find_java(os.environ).path
    command = [str(java), *options, "-XX:+PrintFlagsFinal", "-version"]
    flags = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (line,) = [line for line in flags if " ReservedCodeCacheSize " in line]
    return int(line.split()[3])


def test_the_quick_compiler_has_room_for_its_code() -> None:
    """Left to itself the JVM reserves a fifth for it, and a day's run of a small warehouse died of that."""
    assert reserved_for_code("-XX:TieredStopAtLevel=1") < reserved_for_code(*JAVA_OPTIONS.split())
    assert reserved_for_code() <= reserved_for_code(*JAVA_OPTIONS.split())
