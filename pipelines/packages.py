"""The jars that pip's pyspark lacks, and the Java that runs them. Standard library only, for the doctor."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

DELTA_PACKAGE = "io.delta:delta-spark_2.13:4.0.1"
"""What a cluster is given with ``--packages``; ``make setup`` puts the jars beside pip's pyspark."""

KAFKA_PACKAGE = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.0"
"""Spark's Kafka source, of Spark 4.0; ``make setup`` puts its jars there too."""

JARS = {
    DELTA_PACKAGE: ("io.delta",),
    KAFKA_PACKAGE: ("org.apache.spark_spark-", "org.apache.kafka", "org.apache.commons_commons-pool2"),
}
"""Packages, and how the names of their jars begin that pip's pyspark lacks: it has the others they need."""

JAVA_MAJOR = 17
JAVA_ADVICE = (
    f"install Java {JAVA_MAJOR} (Debian: apt-get install openjdk-{JAVA_MAJOR}-jre-headless) or set JAVA_HOME"
)


class Java(NamedTuple):
    """The Java that Spark would start."""

    path: str | None  # None: none on PATH
    answer: str  # the first line it says of itself, or why it says none
    major: int | None  # None: it says no version


def find_java(environ: Mapping[str, str]) -> Java:
    """``JAVA_HOME``'s Java where that is set, else the first one on ``PATH``, and what it says of itself."""
    home = environ.get("JAVA_HOME")
    path = f"{home}/bin/java" if home else shutil.which("java", path=environ.get("PATH", os.defpath))
    if path is None:
        return Java(None, "there is no java on PATH", None)
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Java(path, getattr(error, "strerror", None) or "no answer", None)
    found = re.search(r'version "(\d+)', done.stderr)
    answer = done.stderr.splitlines()[0] if done.stderr else "no answer"
    return Java(path, answer, int(found.group(1)) if found else None)
