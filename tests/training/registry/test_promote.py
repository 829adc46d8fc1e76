"""Promotion, roll-back and what they leave in the registry, through the command."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.training.registry.conftest import POPULARITY, SASREC, TRANSITION, Command, Fit
from training.registry.tracking import Tracking
from training.registry.versions import aliases, find


def test_a_first_version_needs_a_control_or_a_word(command: Command, tracking: Tracking, fit: Fit) -> None:
    command("register", "--run", fit(TRANSITION), "--name", "next")
    status, summary, told = command("promote", "--name", "next")
    assert (status, summary) == (2, {}) and "has no champion yet; name what version 1 has to beat" in told
    status, summary, told = command("promote", "--name", "next", "--control", fit(TRANSITION))
    assert (status, summary["decision"], summary["champion"]) == (3, "not_promoted", None)
    assert "not shown better than control run-" in told and aliases(tracking.client, "next") == {}
    status, summary, _ = command("promote", "--name", "next", "--control", fit(POPULARITY), fit(SASREC))
    assert (status, summary["decision"], summary["champion"]) == (0, "promoted", 1)
    assert len(summary["differences"]) == 2 and aliases(tracking.client, "next") == {"champion": 1}
    assert command("promote", "--name", "next", "--first")[1]["decision"] == "nothing_to_do"


def test_a_control_may_be_a_registered_model(command: Command, fit: Fit) -> None:
    command("register", "--run", fit(POPULARITY), "--name", "baseline")
    command("register", "--run", fit(TRANSITION), "--name", "next", "--control", "models:/baseline/1")
    status, summary, _ = command("promote", "--name", "next", "--control", "models:/baseline/1")
    assert status == 0 and summary["differences"][0]["rival"] == "control baseline v1"


@pytest.mark.usefixtures("three")
def test_the_better_one_becomes_champion_and_says_why(command: Command, tracking: Tracking, fit: Fit) -> None:
    status, summary, told = command("promote", "--name", "next", "--version", 2, "--guard-users", 2)
    assert (status, summary["decision"], summary["champion_before"]) == (0, "promoted", 1)
    assert aliases(tracking.client, "next") == {"champion": 2, "previous": 1}
    window = summary["window"]
    assert (window["start"], window["end"]) == ("1970-01-01T00:01:30+00:00", "1970-01-02T00:00:41+00:00")
    (difference,) = summary["differences"]
    assert difference["all"]["low"] > 0 and difference["rival"] == "champion v1"
    assert (
        difference["guarded"]["history_0_9"] is None
        and difference["guarded"]["first_after_return"]["low"] > 0
    )
    assert _hits(summary, "v2") == pytest.approx(_tested(fit(TRANSITION))["ndcg_10"])
    assert _hits(summary, "champion v1") == pytest.approx(_tested(fit(POPULARITY))["ndcg_10"])

    tags = find(tracking.client, "next", 2).tags
    assert tags["promotion.decision"] == "promoted" and tags["promotion.over"] == "1"
    assert tags["promotion.publication"] == "0" and tags["promotion.targets"] == str(window["targets"])
    assert tags["promotion.difference"] in told
    report = mlflow.artifacts.load_text(tags["promotion.report"])
    assert report.startswith("# next version 2: promoted\n") and "| first after a return |" in report
    assert "| champion v1 | all targets | +0." in report
    decided = mlflow.artifacts.load_text(tags["promotion.report"].replace("report.md", "decision.json"))
    assert json.loads(decided) == {key: summary[key] for key in json.loads(decided)}
    card = find(tracking.client, "next", 2).description
    assert card.count("## Promotion") == 1 and "Version 2 was **promoted** against champion v1." in card


def _tested(run: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((run / "test.json").read_text())["all"]
    return found


def _hits(summary: dict[str, Any], label: str) -> float:
    value: float = summary["figures"][label]["all"]
    return value


@pytest.mark.usefixtures("three")
def test_a_worse_one_stays_out_and_again_changes_nothing(command: Command, tracking: Tracking) -> None:
    command("promote", "--name", "next", "--version", 2)
    first = command("promote", "--name", "next", "--guard-users", 2)
    assert (first[0], first[1]["version"], first[1]["champion"]) == (3, 3, 2)
    assert "not shown better than champion v2: -" in first[2] and "may fall against champion v2" in first[2]
    before = find(tracking.client, "next", 3)
    status, summary, _ = command("promote", "--name", "next", "--version", 3, "--guard-users", 2)
    after = find(tracking.client, "next", 3)
    assert (status, summary, after.tags, after.description) == (3, first[1], before.tags, before.description)
    assert aliases(tracking.client, "next") == {"champion": 2, "previous": 1}
    listed = tracking.client.list_artifacts(before.run_id, "promotions")
    assert [file.path for file in listed] == ["promotions/next-v3-publication-0-against-v2"]


@pytest.mark.usefixtures("three")
def test_a_champion_must_be_beaten_and_the_controls_too(command: Command, fit: Fit) -> None:
    status, summary, told = command("promote", "--name", "next", "--version", 3, "--control", fit(TRANSITION))
    assert status == 3 and summary["differences"][0]["rival"] == "champion v1"
    assert summary["differences"][0]["all"]["low"] > 0 > summary["differences"][1]["all"]["high"]
    assert "not shown better than control run-" in told and "champion v1:" not in told


@pytest.mark.usefixtures("three")
def test_rolling_back_goes_one_champion_back_each_time(
    command: Command, tracking: Tracking, fit: Fit
) -> None:
    command("promote", "--name", "next", "--version", 2)
    command("register", "--run", fit(TRANSITION, "data.max_length=64"), "--name", "next")
    _, summary, _ = command("promote", "--name", "next", "--metric", "hr_500", "--guard", "--tolerance", 0.5)
    assert summary["decision"] == "not_promoted"  # the same counts
    tracking.client.set_registered_model_alias("next", "previous", "2")  # as if it had been
    tracking.client.set_registered_model_alias("next", "champion", "4")
    assert command("rollback", "--name", "next")[1] == {
        "name": "next", "champion": 2, "rolled_back": 4, "previous": 1,
    }  # fmt: skip
    assert aliases(tracking.client, "next") == {"champion": 2, "previous": 1}
    status, summary, _ = command("rollback", "--name", "next")
    assert (status, summary["champion"], summary["previous"]) == (0, 1, None)
    assert aliases(tracking.client, "next") == {"champion": 1}
    status, summary, told = command("rollback", "--name", "next")
    assert (status, summary) == (2, {}) and "no champion before version 1 to go back to" in told


@pytest.mark.usefixtures("three")
def test_a_version_that_was_rolled_back_stays_back(command: Command, tracking: Tracking) -> None:
    command("promote", "--name", "next", "--version", 2)
    command("rollback", "--name", "next")
    status, summary, told = command("promote", "--name", "next", "--version", 2)
    assert (status, summary["decision"]) == (3, "rolled_back") and "pass --again" in told
    status, _, shown = command("show", "--name", "next")
    assert status == 0 and "| 2 |  | transition | 17 |" in shown and "promoted, rolled back to 1" in shown
    status, summary, _ = command("promote", "--name", "next", "--version", 2, "--again")
    assert (status, summary["champion"]) == (0, 2)
    assert aliases(tracking.client, "next") == {"champion": 2, "previous": 1}
    assert "rolled back" not in command("show", "--name", "next")[2]


@pytest.mark.usefixtures("three")
def test_show_lists_versions_aliases_and_decisions(command: Command) -> None:
    command("promote", "--name", "next", "--version", 2)
    status, summary, shown = command("show", "--name", "next")
    assert status == 0
    rows = {row["version"]: row for row in summary["versions"]}
    assert [rows[number]["aliases"] for number in (1, 2, 3)] == [["previous"], ["champion"], []]
    assert [rows[number]["decision"] for number in (1, 2, 3)] == ["first", "promoted", "–"]
    assert rows[2]["against"] == "champion v1"
    lines = [line for line in shown.splitlines() if line.startswith("| ")]
    assert lines[0].startswith("| version | aliases |") and lines[-1].startswith("| 3 |  | sasrec | 17 |")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["promote", "--name", "nix"], "no model is registered as nix; register one with"),
        (["promote", "--name", "next", "--version", "9"], "next has no version 9; it has 1, 2, 3"),
        (["promote", "--name", "next", "--guard", "no"], "--guard no: no such slice"),
        (["promote", "--name", "next", "--metric", "auc"], "--metric auc: not measured"),
        (["promote", "--name", "next", "--control", "none"], "none: holds no finished run"),
        (["promote", "--name", "next", "--warehouse", "none"], "none: no ops/published"),
        (["promote", "--name", "a/b"], "argument --name: 'a/b' cannot name a model"),
        (["promote", "--name", "next", "--tolerance", "x"], "argument --tolerance: x is not a number"),
        (["promote"], "the following arguments are required: --name; see --help"),
        (["rollback", "--name", "next"], "next has no champion before version 1 to go back"),
        (["rebuild", "--model", "next", "--out", "o"], "next: is no registered model; write models:/NAME"),
        (["rebuild", "--model", "models:/next@other", "--out", "o"], "next has no alias other"),
    ],
)
@pytest.mark.usefixtures("three")
def test_faults_end_with_status_2_and_one_line(command: Command, words: list[str], message: str) -> None:
    status, summary, told = command(*words)
    assert (status, summary) == (2, {}) and "Traceback" not in told
    assert told.strip().splitlines()[-1].startswith(f"error: {message}")
