"""Tiny fitted runs on a small published warehouse."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.configs import config_text
from tests.training.gold import gold_rows, publish, random_users, write_gold
from training.fit.__main__ import main as fit_main

MODELS = {
    "mos": "name = 'mos'\ndim = 8\nlayers = 1\nheads = 1\ncodes = 29\nstrands = 3\nwindow = 8",
    "sasrec": "name = 'sasrec'\ndim = 8\nlayers = 1\nheads = 1",
    "cmsl": "name = 'cmsl'\ndim = 8\nstrands = 2\ntokens = 2\nintents = 2\nblocks = 1\nheads = 2\n"
    "dim_head = 4\nstrand_heads = 1\nhidden = 8",
    "ulim": "name = 'ulim'\ndim = 8\nlayers = 1\nheads = 1",
    "popularity": "name = 'popularity'",
    "mos_click": "name = 'mos_click'\ndim = 8\nlayers = 1\nheads = 1\ncodes = 29",
    "din": "name = 'din'\ndim = 8\nlayers = 1\nheads = 1",
}

Fit = Callable[..., Path]


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("warehouse")
    publish(root, write_gold(root / "gold/user_sequences", gold_rows(random_users(4, 40))))
    return root


@pytest.fixture(scope="session")
def fit(warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """The folder of a finished run of a model under a seed; the same words give the same one."""
    root, held = tmp_path_factory.mktemp("runs"), dict[tuple[str, int], Path]()

    def run(model: str, seed: int = 1) -> Path:
        if (model, seed) not in held:
            output = root / model / str(seed)
            config = root / f"{model}-{seed}.toml"
            config.write_text(config_text(warehouse, output, MODELS[model]))
            assert fit_main(["--config", str(config), "--set", f"seed={seed}"]) == 0
            held[model, seed] = output
        return held[model, seed]

    return run
