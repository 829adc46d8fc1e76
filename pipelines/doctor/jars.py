"""Delta's and Kafka's jars beside pip's pyspark: there, of the pinned version, and of no other."""

from __future__ import annotations

from pathlib import Path

from pipelines.doctor.finding import OK, PROBLEM, WARNING, Finding
from pipelines.packages import JARS

MEND = "rm -f .venv/.seqloom-*, then make setup (it fetches them from Maven Central)"
COMPANIONS = {"delta-spark_2.13": "delta-storage", "spark-sql-kafka-0-10_2.13": "kafka-clients"}
"""A jar that a package's own cannot do without."""


def check_jars(site: Path | None) -> Finding:
    """Are the jars in ``site``'s pyspark those that the code is written for?"""
    folder = None if site is None else site / "pyspark" / "jars"
    if folder is None or not folder.is_dir():
        return Finding(WARNING, "jars", "pyspark is not installed yet", "make setup")
    shown = []
    for package in JARS:
        _, artifact, version = package.split(":")
        there = sorted(path.name for path in folder.glob(f"*{artifact}-*.jar"))
        right = [name for name in there if name.endswith(f"{artifact}-{version}.jar")]
        other = [name for name in there if name not in right]
        if other:
            found = f"{', '.join(other)} in {folder}, where {version} alone belongs"
            return Finding(PROBLEM, "jars", found, f"remove {'it' if len(other) == 1 else 'them'}; {MEND}")
        if not right:
            return Finding(PROBLEM, "jars", f"{artifact}-{version}.jar is missing in {folder}", MEND)
        if not list(folder.glob(f"*{COMPANIONS[artifact]}-*.jar")):
            return Finding(
                PROBLEM,
                "jars",
                f"{COMPANIONS[artifact]}'s jar is missing in {folder}",
                f"remove {right[0]}; {MEND}",
            )
        broken = [name for name in right if (folder / name).read_bytes()[:2] != b"PK"]
        if broken:
            return Finding(PROBLEM, "jars", f"{broken[0]} is cut off or no jar", f"remove it; {MEND}")
        shown.append(f"{artifact} {version}")
    return Finding(OK, "jars", ", ".join(shown))
