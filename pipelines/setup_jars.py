"""Puts Delta's and Kafka's jars and quiet defaults beside pip's pyspark: spark-submit needs no options.

Run once by ``make setup``: ``python -m pipelines.setup_jars``. Jars come from Maven Central through
Spark's own resolver.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

from pipelines.errors import SeqloomError
from pipelines.packages import JARS
from pipelines.spark import driver_memory, require_java

LOGGING = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
"""


def install(spark_home: Path) -> None:
    """Resolve the packages' jars into ``spark_home/jars`` and write defaults into ``spark_home/conf``."""
    conf = spark_home / "conf"
    conf.mkdir(exist_ok=True)
    defaults = f"spark.driver.memory {driver_memory()}\nspark.ui.showConsoleProgress false\n"
    (conf / "spark-defaults.conf").write_text(defaults)
    (conf / "log4j2.properties").write_text(LOGGING)
    for package, beginnings in JARS.items():
        _, artifact, version = package.split(":")
        if list(spark_home.glob(f"jars/*{artifact}-{version}.jar")):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for jar in fetch_jars(package, Path(folder)):
                if jar.name.startswith(beginnings):
                    shutil.copy(jar, spark_home / "jars" / jar.name)


def fetch_jars(package: str, folder: Path) -> list[Path]:
    """The jars of a package and of what it needs, in ``folder/jars``; SeqloomError where there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "nothing.py"
    script.write_text("")
    submit = str(Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent) / "bin" / "spark-submit")
    command = [submit, "--packages", package, "--conf", f"spark.jars.ivy={folder}", str(script)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    jars = sorted(folder.glob("jars/*.jar"))
    if answer.returncode != 0 or not jars:
        tail = "\n".join(answer.stderr.splitlines()[-20:])
        raise SeqloomError(f"{package} could not be fetched from Maven Central:\n{tail}")
    return jars


if __name__ == "__main__":
    try:
        require_java()
        install(Path(pyspark.__file__).parent)
    except SeqloomError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_status)
