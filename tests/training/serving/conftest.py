"""One small warehouse, and a run and a bundle of each model asked for, made once."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.training.serving import warehouse as small
from training.fit.__main__ import main
from training.serving.bundle import load_bundle, write_bundle
from training.serving.served import Served

CONFIG = """
output = "{folder}/{model}"

[data]
warehouse = "{warehouse}"
min_count = 1
max_length = 64
tokens = 512
negatives = 8

[model]
name = "{model}"
{settings}

[training]
steps = 6

[validation]
every = 3

[hardware]
accelerator = "cpu"
"""

SETTINGS = {
    "cmsl": "dim = 8",
    "popularity": "",
    "frequency": 'half_life = "2d"',
}


@pytest.fixture(scope="session")
def events() -> pd.DataFrame:
    """The raw events of the warehouse."""
    return small.raw_events()


@pytest.fixture(scope="session")
def warehouse(events: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.build(tmp_path_factory.mktemp("serving") / "warehouse", events)


@pytest.fixture(scope="session")
def run_of(warehouse: Path) -> Callable[[str], Path]:
    """The output folder of a model's tiny run."""

    def fit(model: str) -> Path:
        folder = warehouse.parent / "runs"
        if not (folder / model).exists():
            folder.mkdir(exist_ok=True)
            settings = SETTINGS.get(model, "dim = 8\nlayers = 1\nheads = 1")
            config = folder / f"{model}.toml"
            config.write_text(
                CONFIG.format(folder=folder, model=model, warehouse=warehouse, settings=settings)
            )
            assert main(["--config", str(config)]) == os.EX_OK
        return folder / model

    return fit


@pytest.fixture(scope="session")
def bundle_of(run_of: Callable[[str], Path]) -> Callable[[str], Path]:
    """The bundle of a model's run."""

    def bundle(model: str) -> Path:
        run = run_of(model)
        folder = run.with_suffix(".bundle")
        return folder if folder.exists() else write_bundle(run, folder)

    return bundle


@pytest.fixture(scope="session")
def served(bundle_of: Callable[[str], Path]) -> Callable[[str], Served]:
    """A model's bundle, loaded once."""
    held: dict[str, Served] = {}

    def load(model: str) -> Served:
        if model not in held:
            held[model] = load_bundle(bundle_of(model))
        return held[model]

    return load
