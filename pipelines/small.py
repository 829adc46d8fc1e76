"""What Spark is told where a run has little data: then planning and compiling, not rows, cost its time.

Measured on two cores, `python benchmarks/small_build.py`: 10,000 events gain 40 %, 100,000 events 15 %, and
from about 300,000 on (20 MB of CSV) interpreted expressions cost more than compiling them.
"""

from collections.abc import Iterable
from typing import Final

from pipelines.lock import local_folder

SMALL_BYTES: Final = 12 * 2**20
"""Of text; what a source and the bronze events hold together."""

PACKED: Final = 5
"""A byte of Parquet or of gzip stands for about so many of text."""

JAVA_OPTIONS: Final = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
"""Only the quick compiler. With it alone the JVM would reserve 48 MB for compiled code instead of 240, which
a run of many queries fills; then nothing is compiled any more, and what needs a stub ends the JVM."""

SETTINGS: Final = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.stats.skipping": "false",
    "spark.driver.extraJavaOptions": JAVA_OPTIONS,  # heeded where we start the JVM
}


def is_small(places: Iterable[str]) -> bool:
    """Whether files and folders hold less than SMALL_BYTES of text; those on other machines never do."""
    total = 0
    for place in places:
        path = local_folder(place)
        if path is None:
            return False
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file():
                total += file.stat().st_size * (PACKED if file.suffix in (".parquet", ".gz") else 1)
            if total > SMALL_BYTES:
                return False
    return True
