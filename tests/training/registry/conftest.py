"""A small published warehouse, finished runs on it, and an MLflow store for each test that asks for one."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from tests.training.configs import SASREC, config_text
from tests.training.gold import gold_rows, publish, random_users, write_gold
from training.fit.__main__ import main as fit_main
from training.registry.__main__ import main
from training.registry.promote import Asked, promote
from training.registry.register import register
from training.registry.tracking import Tracking, connect

POPULARITY, TRANSITION = "name = 'popularity'", "name = 'transition'"
"""An item is followed by the next one: the last item tells everything, popularity nothing."""

Fit = Callable[..., Path]
Command = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("warehouse")
    publish(root, write_gold(root / "gold/user_sequences", gold_rows(random_users(4, 40))))
    return root


@pytest.fixture(scope="session")
def fit(warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """The folder of a finished run; the same words give the same one."""
    root, held = tmp_path_factory.mktemp("runs"), dict[tuple[str, ...], Path]()

    def run(model: str = SASREC, *words: str, on: Path = warehouse) -> Path:
        asked = (model, *words, str(on))
        if asked not in held:
            output = root / f"run-{len(held)}"
            config = root / f"run-{len(held)}.toml"
            config.write_text(config_text(on, output, model))
            overrides = [word for one in words for word in ("--set", one)]
            assert fit_main(["--config", str(config), *overrides]) == 0
            held[asked] = output
        return held[asked]

    return run


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose database has MLflow's tables; making them takes seconds."""
    root = tmp_path_factory.mktemp("store")
    connect(str(root))
    return root


@pytest.fixture(scope="session")
def stored_three(empty_store: Path, fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of ``next``: 1 popularity (champion), 2 transition and 3 a hardly trained SASRec."""
    root = tmp_path_factory.mktemp("three") / "registry"
    copy_store(empty_store, root)
    tracking = connect(str(root))
    for model in (POPULARITY, TRANSITION, SASREC):
        register(tracking, fit(model), "next")
    promote(tracking, Asked("next", version=1, first=True))
    return root


def copy_store(old: Path, new: Path) -> None:
    """A copy that keeps its artifacts apart: MLflow notes absolute places, and remembers them by run."""
    shutil.copytree(old, new)
    _artifact_repos_cache.clear()
    places = {
        "experiments": "artifact_location",
        "runs": "artifact_uri",
        "logged_models": "artifact_location",
        "model_versions": "storage_location",
    }
    with sqlite3.connect(new / "mlflow.db") as database:
        for table, column in places.items():
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(old), str(new)))


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for --tracking."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    copy_store(empty_store, tmp_path / "registry")
    return tmp_path / "registry"


@pytest.fixture
def three(stored_three: Path, store: Path) -> None:
    """The store holds three versions."""
    shutil.rmtree(store)
    copy_store(stored_three, store)


@pytest.fixture
def tracking(store: Path) -> Tracking:
    return connect(str(store))


@pytest.fixture
def command(store: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Calls the command on the store; its exit status, its summary and what it told."""

    def call(*words: object) -> tuple[int, dict[str, Any], str]:
        capfd.readouterr()
        status = main([*map(str, words), "--tracking", str(store)])
        out, err = capfd.readouterr()
        lines = out.strip().splitlines()
        return status, json.loads(lines[-1]) if lines else {}, err + "\n".join(lines[:-1])

    return call
