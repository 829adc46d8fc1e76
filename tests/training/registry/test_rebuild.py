"""A registered model made again: to the bit, told apart where it is not, refused where its data is gone."""

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from tests.training.configs import SASREC, config_text
from tests.training.gold import gold_rows, publish, random_users, write_gold
from tests.training.registry.conftest import Command
from training.errors import DataError
from training.fit.__main__ import main as fit_main
from training.fit.load import load_config, to_toml
from training.registry import rebuild as module
from training.registry.fitting import FitEndedError, run_fit_process
from training.registry.pins import pinned_publication
from training.registry.rebuild import pinned_config, warnings
from training.registry.restore import registered_run, uri
from training.registry.tracking import Tracking
from training.registry.versions import find, set_tags


def _in_this_process(*more: str) -> Any:
    """The fit without a process of its own, which takes seconds to start; ``more`` words are overrides."""

    def run(words: list[str], env: dict[str, str]) -> None:
        assert fit_main([*words, *(word for one in more for word in ("--set", one))]) == 0

    return run


@pytest.mark.slow
@pytest.mark.usefixtures("three")
def test_a_process_of_its_own_gives_the_same_bits(command: Command, tmp_path: Path) -> None:
    words = ("rebuild", "--name", "next", "--version", 3, "--out", tmp_path / "again")
    status, summary, told = command(*words)
    assert status == 0
    assert summary["same"] and summary["weights_equal"] and summary["figures_that_differ"] == {}
    assert summary["figures_compared"] > 50 and summary["difference"] is None
    assert "the weights are equal to the bit; all" in told
    assert json.loads((tmp_path / "again/rebuild.json").read_text()) == summary
    status, _, told = command(*words)
    assert status == 2 and "holds a run already; name a new folder" in told


@pytest.fixture
def moved(warehouse: Path, three: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the warehouse that version 3 of ``next`` was fitted on, to be spoilt."""
    shutil.copytree(warehouse, tmp_path / "moved")
    monkeypatch.setattr(module, "run_fit_process", _in_this_process())
    return tmp_path / "moved"


def test_the_pinned_version_is_taken_wherever_it_lies_and_whatever_came_since(
    moved: Path, command: Command, tmp_path: Path
) -> None:
    publish(moved, write_gold(moved / "gold/user_sequences", gold_rows(random_users(9, 6))))
    words = ("rebuild", "--model", "models:/next/3", "--out", tmp_path / "again", "--warehouse", moved)
    status, summary, _ = command(*words)
    assert status == 0 and summary["weights_equal"]
    assert load_config(tmp_path / "again/config.toml").data.warehouse == str(moved)


@pytest.mark.parametrize(
    "case",
    [
        (["training.learning_rate=0.00200001"], True),
        (["training.learning_rate=0.03", "training.steps=120", "validation.every=120"], False),
    ],
)
def test_other_weights_are_told_by_what_they_answer(
    moved: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[list[str], bool],
) -> None:
    """A rate that is off by little stands for another machine's rounding, a long fit for a fault."""
    words, same = case
    monkeypatch.setattr(module, "run_fit_process", _in_this_process(*words))
    asked = ("rebuild", "--name", "next", "--version", 3, "--out", tmp_path / "again", "--warehouse", moved)
    status, summary, told = command(*asked)
    assert (status, summary["same"], summary["weights_equal"]) == (0 if same else 3, same, False)
    assert summary["difference"]["targets"] > 300
    if not same:
        then, now = summary["figures_that_differ"]["ndcg_10"]
        assert now - then == pytest.approx(summary["difference"]["estimate"]) and abs(now - then) > 0.01
    assert ("within noise" if same else "more than noise") in told


def test_a_vacuumed_version_is_refused_by_name(moved: Path, command: Command, tmp_path: Path) -> None:
    gold = moved / "gold/user_sequences"
    version = DeltaTable(str(gold)).version()
    delta = DeltaTable(str(gold))
    delta.delete()
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    words = ("rebuild", "--name", "next", "--version", 3, "--out", tmp_path / "again", "--warehouse", moved)
    status, summary, told = command(*words)
    assert (status, summary) == (2, {}) and not (tmp_path / "again").exists()
    assert f"gold/user_sequences version {version}, which the model was fitted on, is gone (" in told
    assert "files are deleted, such as" in told and "it cannot be rebuilt" in told


def test_what_a_fit_reads_beside_the_sequences_must_be_there_too(moved: Path) -> None:
    gold = str(moved / "gold/user_sequences")
    version = DeltaTable(gold).version()
    assert pinned_publication(gold, version).number == 0
    with pytest.raises(DataError, match=r"version 999, which the model was fitted on, is gone"):
        pinned_publication(gold, 999)
    for file in (moved / "silver/items").glob("*.parquet"):
        file.unlink()
    with pytest.raises(DataError, match=r"silver/items version 0, which .* is gone \(1 of its 1 files"):
        pinned_publication(gold, version)
    shutil.rmtree(moved / "ops")
    with pytest.raises(DataError, match="in no publication of its warehouse any more"):
        pinned_publication(gold, version)


@pytest.mark.usefixtures("three")
def test_a_holdout_is_pinned_to_the_time_that_it_was(tracking: Tracking, tmp_path: Path) -> None:
    version = find(tracking.client, "next")
    run = registered_run(version, uri(version))
    data = run.config.data.model_copy(update={"train_end": None, "valid_end": None, "holdout": "1d"})
    asked = replace(run, config=run.config.model_copy(update={"data": data}))
    (tmp_path / "again.toml").write_text(to_toml(pinned_config(asked, tmp_path / "again", None)))
    found = load_config(tmp_path / "again.toml").data
    assert found.holdout is None
    assert found.train_end == datetime.fromisoformat(run.origin["splits"]["train_end"])


def test_registered_weights_that_are_others_are_not_rebuilt(
    moved: Path, command: Command, tracking: Tracking, tmp_path: Path
) -> None:
    set_tags(tracking.client, find(tracking.client, "next"), {"seqloom.weights_sha256": "0"})
    words = ("rebuild", "--name", "next", "--out", tmp_path / "again", "--warehouse", moved)
    status, _, told = command(*words)
    assert status == 2 and "its weights are not those that were registered" in told


def test_other_code_packages_and_publications_are_warned_of() -> None:
    origin = {"code_commit": "abc", "packages": {"torch": "1", "numpy": "2"}, "table": {"publication": 3}}
    same = {"torch": "1", "numpy": "2"}
    assert warnings(origin, "abc", same, 3) == []
    assert warnings(origin, "def", same, 3) == ["the code was abc, is def; git checkout abc for the same"]
    assert warnings(origin, "abc", {"torch": "9", "numpy": "2"}, 3) == ["torch was 1, is 9"]
    (line,) = warnings(origin, "abc", same, 4)
    assert "publication 4 as well" in line
    dirty = warnings(origin | {"code_commit": "abc+changed"}, "abc", same, 3)
    assert "uncommitted changes" in dirty[0] and dirty[1].endswith("git checkout abc for the same")


def test_a_fit_that_fails_ends_with_its_own_status() -> None:
    with pytest.raises(FitEndedError) as raised:
        run_fit_process(["--config", "nowhere.toml"])
    assert raised.value.exit_status == 2


def test_training_registers_what_it_fitted(
    command: Command, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.registry import train

    def run(words: list[str]) -> dict[str, str]:
        assert fit_main(words) == 0
        return {"output": str(tmp_path / "again")}

    monkeypatch.setattr(train, "run_fit_process", run)
    config = tmp_path / "small.toml"
    config.write_text(config_text(warehouse, tmp_path / "run", SASREC))
    words = (
        "train",
        "--config",
        config,
        "--name",
        "next",
        "--set",
        f"output={tmp_path}/again",
        "--set",
        "seed=3",
    )
    status, summary, _ = command(*words)
    assert (status, summary["version"], summary["new"], summary["model"]) == (0, 1, True, "sasrec")
    status, summary, _ = command(*words, "--resume")
    assert (status, summary["version"], summary["new"]) == (0, 1, False)
