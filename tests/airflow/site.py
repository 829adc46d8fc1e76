"""A place where Airflow runs seqloom for a test: its own home, settings, and events that come day by day."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient

from pipelines.synthetic.generate import generate
from pipelines.synthetic.settings import Settings
from tests.content import contents
from tests.generated import SOURCE

HOME: Final = Path(__file__).resolve().parents[2]
AIRFLOW: Final = HOME / ".venv-airflow" / "bin" / "airflow"
FIRST: Final = date(2025, 1, 1)
"""The day of the first events."""

BUILD = f"""{SOURCE}\
[themes]
count = 6
[gates]
max_rejected_share = 0.05
"""

TRAIN = """
output = "set by the DAG"
[data]
warehouse = "set by the DAG"
min_count = 1
max_length = 64
[model]
name = "sasrec"
dim = 16
layers = 1
heads = 1
[training]
steps = 60
[validation]
every = 30
[hardware]
accelerator = "cpu"
"""


def midnight(day: int) -> str:
    """The end of the ``day``th day of events, from 1: when the daily run for it is due."""
    return (FIRST + timedelta(days=day)).isoformat()


@dataclass(frozen=True)
class Site:
    """Airflow with its database in ``folder``, on events that ``arrive`` there."""

    folder: Path
    airflow_home: Path

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def airflow(self, *words: str) -> tuple[int, str]:
        """Exit status and output of a command of Airflow's."""
        done = subprocess.run(
            [AIRFLOW, *words],
            env=os.environ
            | {
                "AIRFLOW_HOME": str(self.airflow_home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "airflow" / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
                "AIRFLOW_VAR_SEQLOOM_HOME": str(HOME),
                "AIRFLOW_VAR_SEQLOOM_CONFIG": str(self.folder / "build.toml"),
                "AIRFLOW_VAR_SEQLOOM_WAREHOUSE": str(self.warehouse),
                "AIRFLOW_VAR_SEQLOOM_TRAIN": str(self.folder / "train.toml"),
                "AIRFLOW_VAR_SEQLOOM_MODEL": "next",
                "AIRFLOW_VAR_SEQLOOM_TRACKING": f"sqlite:///{self.folder}/mlflow.db",
                "AIRFLOW_VAR_SEQLOOM_RUNS": str(self.folder / "runs"),
            },
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def run(self, dag: str, when: str, only: str | None = None, **params: Any) -> tuple[int, str]:
        """``airflow dags test``: one run of the DAG at ``when``, whole or of one task ``only``."""
        words = ["dags", "test", dag, when, "--conf", json.dumps(params)]
        return self.airflow(*words, *(["--mark-success-pattern", f"(?!{only}$).*"] if only else []))

    def arrive(self, generated: Path, day: int) -> Path:
        """The events of the ``day``th day, from 1, come into the source's folder."""
        (file,) = (generated / "events").glob(f"slice-{day - 1:04d}-*.csv")
        (self.folder / "events").mkdir(exist_ok=True)
        return Path(shutil.copy(file, self.folder / "events"))

    def tables(self) -> dict[str, list[str]]:
        """What the published tables say."""
        return contents(self.warehouse)


def make_site(folder: Path, airflow_home: Path) -> Site:
    """A site without events, its Airflow ready to run."""
    folder.mkdir()
    site = Site(folder, airflow_home)
    (folder / "build.toml").write_text(BUILD.replace("unset", str(folder / "events")))
    (folder / "train.toml").write_text(TRAIN)
    if not airflow_home.exists():
        airflow_home.mkdir()
        for words in (["db", "migrate"], ["pools", "import", str(HOME / "airflow" / "pools.json")]):
            status, said = site.airflow(*words)
            assert status == 0, said[-3000:]
    return site


def make_events(folder: Path, days: int, events: int) -> Path:
    """Generated events of ``days`` days from ``FIRST``, a file a day, some late, doubled or malformed."""
    start = datetime.combine(FIRST, time(), UTC)
    settings = Settings(events=events, days=days, start=start, seed=5, themes=8, items_per_theme=40, bots=0)
    generate(settings, folder)
    return folder
