"""Puts Delta's jars and quiet defaults beside pip's pyspark, so that spark-submit needs no options.

Run once by ``make setup``: ``python -m pipelines.setup_jars``. Jars come from Maven Central through
Spark's own resolver.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

from pipelines.errors import SeqloomError
from pipelines.spark import DELTA_PACKAGE, driver_memory, require_java

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
    """Resolve Delta's jars into ``spark_home/jars`` and write defaults into ``spark_home/conf``."""
    conf = spark_home / "conf"
    conf.mkdir(exist_ok=True)
    defaults = f"spark.driver.memory {driver_memory()}\nspark.ui.showConsoleProgress false\n"
    (conf / "spark-defaults.conf").write_text(defaults)
    (conf / "log4j2.properties").write_text(LOGGING)
    version = DELTA_PACKAGE.rpartition(":")[2]
    if list(spark_home.glob(f"jars/*delta-spark*-{version}.jar")):
        return
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "nothing.py"
        script.write_text("")
        ivy = Path(folder) / "ivy"
        submit = [str(spark_home / "bin" / "spark-submit"), "--packages", DELTA_PACKAGE]
        submit += ["--conf", f"spark.jars.ivy={ivy}", str(script)]
        answer = subprocess.run(submit, capture_output=True, text=True, check=False)
        jars = list(ivy.glob("jars/io.delta*.jar"))
        if answer.returncode != 0 or not jars:
            tail = "\n".join(answer.stderr.splitlines()[-20:])
            raise SeqloomError(f"{DELTA_PACKAGE} could not be fetched from Maven Central:\n{tail}")
        for jar in jars:
            shutil.copy(jar, spark_home / "jars" / jar.name)


if __name__ == "__main__":
    try:
        require_java()
        install(Path(pyspark.__file__).parent)
    except SeqloomError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_status)
