"""A grid from a published table to its report, and what it must do when it is run again."""

import json
import multiprocessing
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.gold import gold_rows, publish, random_users, write_gold
from training.batch import Batch, Rows
from training.batching import Asked, TokenBatches
from training.errors import ConfigError, DataError
from training.evaluate.experiment import Results
from training.experiments.__main__ import main
from training.experiments.bundle import Bundle
from training.experiments.config import load_grid
from training.experiments.memory import MemoryLoader
from training.experiments.prepare import prepare
from training.experiments.work import _places
from training.fit.config import Data
from training.negatives import SharedNegatives

ROOT = Path(__file__).parents[3]
VALID_END = "1970-01-01T00:01:10Z"

GRID = """
seeds = [1, 2]
test_targets = 300

[data.small]
warehouse = "{warehouse}"
min_count = 1
tokens = 512
valid_end = 1970-01-01T00:01:10Z
negatives = 8

[models.popularity]
name = "popularity"

[models.sasrec]
name = "sasrec"
dim = 8
heads = 2
layers = 1

[training]
steps = 4

[validation]
every = 2
targets = 100

[[comparisons]]
model = "sasrec"
control = "popularity"
gain = ["small"]
slices = ["all"]
"""


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("warehouse")
    publish(root, write_gold(root / "gold" / "user_sequences", gold_rows(random_users(3, 30, 120))))
    return root


@pytest.fixture(scope="module")
def bundle(warehouse: Path) -> Bundle:
    return prepare(
        Data(warehouse=str(warehouse), valid_end=VALID_END, min_count=1, tokens=512),
        {"valid": 100, "test": 300},
    )


def loader(bundle: Bundle, seed: int = 5) -> MemoryLoader:
    shared = SharedNegatives(torch.tensor(bundle.vocabulary.items.count), 8)
    return MemoryLoader(dict(bundle.train), TokenBatches(256, 10**6, Asked(shared)), seed)


def flat(batch: Batch) -> list[torch.Tensor]:
    assert batch.shared is not None
    return [*(getattr(batch.rows, field.name) for field in fields(Rows)), batch.shared.item]


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(flat(x), flat(y), strict=True)
    )


def test_a_bundle_comes_back_as_it_was_saved(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path)
    back = Bundle.load(tmp_path)
    assert back.about == json.loads(json.dumps(bundle.about)) and list(back.train) == list(bundle.train)
    pairs = [*zip(back.train.values(), bundle.train.values(), strict=True)]
    for own, their in ((back.valid, bundle.valid), (back.test, bundle.test)):
        pairs += [(a.rows, b.rows) for a, b in zip(own, their, strict=True)]
    for one, other in pairs:
        for field in fields(Rows):
            assert torch.equal(getattr(one, field.name), getattr(other, field.name)), field.name
    assert np.array_equal(back.vocabulary.items.index, bundle.vocabulary.items.index)
    assert np.array_equal(back.facts.hop, bundle.facts.hop)


def test_a_bundle_that_is_not_whole_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path)
    (tmp_path / "about.json").unlink()
    with pytest.raises(DataError, match="--prepare"):
        Bundle.load(tmp_path)


def test_every_row_once_an_epoch_in_a_new_order(bundle: Bundle) -> None:
    """Row numbers and first times name the windows of a bundle."""
    whole = sorted(
        pair
        for rows in bundle.train.values()
        for pair in zip(rows.row_id.tolist(), rows.ts[:, 0].tolist(), strict=True)
    )
    batches = loader(bundle)
    orders = []
    for _ in range(3):
        seen = [
            pair
            for batch in batches
            for pair in zip(batch.rows.row_id.tolist(), batch.rows.ts[:, 0].tolist(), strict=True)
        ]
        assert sorted(seen) == whole
        orders.append(seen)
    assert orders[0] != orders[1] != orders[2]


def test_the_seed_decides(bundle: Bundle) -> None:
    assert same(list(loader(bundle)), list(loader(bundle)))
    assert not same(list(loader(bundle)), list(loader(bundle, seed=6)))


@pytest.mark.parametrize("handed_out", [0, 1, 5, 10**6])
def test_going_back_to_a_place_gives_the_same_batches(bundle: Bundle, handed_out: int) -> None:
    """10^6 stands for the end of the first epoch."""
    batches = loader(bundle)
    one_epoch = len(list(loader(bundle)))
    taken = iter(batches)
    for _ in range(min(handed_out, one_epoch)):
        next(taken)
    state = json.loads(json.dumps(batches.state_dict()))
    rest, later = list(taken), list(batches)
    other = loader(bundle)
    other.load_state_dict(state)
    assert same(list(other), rest) and same(list(other), later)


def test_a_grid_runs_reports_and_goes_on(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "grid.toml", tmp_path / "out"
    config.write_text(GRID.format(warehouse=warehouse))

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["--config", str(config), "--out", str(out), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    status, said, log = run("--seeds", "1")
    assert status == 0 and log.count(": done") == 2
    assert re.search(r"\| (better|worse|undecided) \(of 2 seeds\) \|", (out / "report.md").read_text())
    report = Path(json.loads(said.splitlines()[-1])["report"])
    assert {path.name for path in out.glob("*.png")} == {"small.png", "contrasts_hr_10.png"}
    text = report.read_text()
    assert re.search(r"\| sasrec \| 0\.\d+", text) and "first of session" in text

    _, _, log = run()
    assert log.count("finished before") == 2 and log.count(": done") == 2
    frames = Results(out / "results").frames("small", "sasrec")
    assert set(frames) == {1, 2} and len(frames[1]) == len(frames[2])
    facts = Results(out / "results").table().query("slice == 'model' and model == 'sasrec' and seed == 1")
    values = dict(zip(facts["metric"], facts["value"], strict=True))
    assert values["steps"] == 4 and values["parameters"] > values["parameters_besides_embeddings"] > 0

    config.write_text(GRID.format(warehouse=warehouse).replace("steps = 4", "steps = 6"))
    _, _, log = run("--models", "sasrec")
    assert "finished before" not in log and "expanding" not in log and log.count(": done") == 2
    text = report.read_text()
    assert "| sasrec |" in text and "| popularity |" not in text, "cells of other settings are left out"
    assert "sasrec against popularity on small, all targets: not both finished" in text

    config.write_text(GRID.format(warehouse=warehouse).replace("min_count = 1", "min_count = 2"))
    _, _, log = run("--prepare")
    assert "expanding small" in log


def test_click_models_are_measured_among_candidates(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GRID.format(warehouse=warehouse).replace(
        "seeds = [1, 2]", 'seeds = [1, 2]\nmetric = "gauc_uniform"'
    )
    text = text.replace("negatives = 8", 'candidates.negatives = "uniform"\ncandidates.measured = 20')
    text = text.replace('[models.popularity]\nname = "popularity"', '[models.din]\nname = "din"\ndim = 8')
    text = text.replace(
        '[models.sasrec]\nname = "sasrec"\ndim = 8', '[models.mos]\nname = "mos_click"\ndim = 8'
    )
    text = text.replace('model = "sasrec"\ncontrol = "popularity"', 'model = "mos"\ncontrol = "din"')
    config, out = tmp_path / "grid.toml", tmp_path / "out"
    config.write_text(text)
    assert main(["--config", str(config), "--out", str(out)]) == 0
    report = (out / "report.md").read_text()
    assert "gauc_uniform" in report and "normalised_entropy_uniform" in report and "mflops" in report
    frames = Results(out / "results").frames("small", "mos")
    row = next(line for line in report.splitlines() if "| small | mos | din | all targets | auc |" in line)
    others = Results(out / "results").frames("small", "din")
    difference = np.mean([frames[seed]["auc"].mean() - others[seed]["auc"].mean() for seed in (1, 2)])
    assert f"{difference:+.4f}" in row


def test_workers_share_the_cells(warehouse: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "grid.toml", tmp_path / "out"
    config.write_text(GRID.format(warehouse=warehouse))
    words = ["--config", str(config), "--out", str(out), "--workers", "2", "--threads", "1"]
    command = [sys.executable, "-m", "training.experiments", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": done") == 4 and "finished before" not in done.stderr
    assert set(re.findall(r"\[(./4)\] .*: done", done.stderr)) == {"1/4", "2/4", "3/4", "4/4"}
    table = Results(out / "results").table()
    assert set(zip(table["model"], table["seed"], strict=True)) == {
        (model, seed) for model in ("sasrec", "popularity") for seed in (1, 2)
    }


def test_a_worker_takes_one_cell_at_a_time() -> None:
    taken = multiprocessing.get_context("spawn").Value("q", 0)
    one, other = _places(5, taken), _places(5, taken)
    assert [next(one), next(other), next(other), next(one)] == [0, 1, 2, 3]
    assert (list(one), list(other), list(_places(3, None))) == ([4], [], [0, 1, 2])


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        ('control = "popularity"', 'control = "luck"', "comparison of luck: no such model"),
        ("seeds = [1, 2]", 'seeds = [1]\nmetric = "hr_11"', "metric hr_11 is not measured of popularity"),
        ('gain = ["small"]', 'gain = ["large"]', "comparison on large: no such data"),
        ('slices = ["all"]', 'slices = ["most"]', "slices most are unknown"),
        ("test_targets", "tset_targets", "test_targets"),
        ("seeds = [1, 2]", "seeds = []", "seeds"),
    ],
)
def test_a_grid_that_contradicts_itself_is_refused(
    tmp_path: Path, text: str, change: str, message: str
) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(GRID.format(warehouse="w").replace(text, change, 1))
    with pytest.raises(ConfigError, match=message):
        load_grid(path)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf" / "experiments").glob("*.toml")), ids=lambda path: path.name
)
def test_shipped_grids_load(path: Path) -> None:
    assert load_grid(path).comparisons


def test_unknown_names_and_counts_are_refused(
    warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "grid.toml"
    config.write_text(GRID.format(warehouse=warehouse))
    words = ["--config", str(config), "--out", str(tmp_path / "out")]
    assert main([*words, "--data", "sasrec"]) == 2
    assert "--data sasrec: the config has none of that name; one of small" in capsys.readouterr().err
    assert main([*words, "--models", "sasrek"]) == 2
    assert "did you mean sasrec?" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--workers", "0"])


def test_an_interrupted_grid_says_how_to_go_on(warehouse: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "grid.toml", tmp_path / "out"
    text = GRID.format(warehouse=warehouse).replace("steps = 4", "steps = 100000")
    config.write_text(text.replace("every = 2\n", "every = 0\n"))
    words = ["--config", str(config), "--out", str(out), "--workers", "2", "--models", "sasrec"]
    command = [sys.executable, "-m", "training.experiments", *words]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 100/" in line:
                process.terminate()
                break
        rest = process.stderr.read()
    assert process.returncode == 130 and "Traceback" not in rest
    assert rest.splitlines()[-1].startswith("error: interrupted; run the command again")


def test_help_shows_examples(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--workers 8" in capsys.readouterr().out
