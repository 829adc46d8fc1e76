"""The build report: its numbers are the tables', its reasons stand at the top, names are text."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import altair
import numpy as np
import pandas as pd
import pytest

from features.codes import MODES
from features.spec import SequenceSpec
from pipelines.errors import ConfigError
from pipelines.pointer import require_published
from pipelines.report import histories, transitions
from pipelines.report.__main__ import main
from pipelines.report.histories import LATEST
from pipelines.report.sample import choose
from pipelines.report.snapshot import Snapshot
from pipelines.report.write import write_report
from tests.content import table
from tests.e2e.reports import HOSTILE_ITEM, HOSTILE_USER, Reported

SECTIONS = (
    "headline", "funnel", "activity", "sessions", "hopping", "rates", "themes", "transitions", "strands",
    "heavy", "cost", "explorer", "versions",
)  # fmt: skip


def embedded(file: Path, identifier: str) -> Any:
    """What the page holds as JSON under an id."""
    pattern = rf'<script type="application/json" id="{identifier}">(.*?)</script>'
    (found,) = re.findall(pattern, file.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(found)


@pytest.fixture(scope="module")
def figures(reported: Reported) -> Any:
    return embedded(reported.good, "figures")


@pytest.fixture(scope="module")
def sessions(reported: Reported) -> pd.DataFrame:
    return table(reported.case.path(), "silver/sessions").sort_values(["user_id", "ordinal"])


def test_totals_are_those_of_the_tables_and_of_the_summary(
    reported: Reported, figures: Any, sessions: pd.DataFrame
) -> None:
    root, totals = reported.case.path(), figures["totals"]
    assert totals["events"] == len(table(root, "bronze/events")) == reported.summary["events_kept"]
    assert totals["users"] == len(table(root, "silver/users")) == reported.summary["users"]
    assert totals["sessions"] == len(sessions)
    assert totals["hops"] == (sessions["is_hop"] == True).sum()  # noqa: E712 - null is not False
    assert totals["returns"] == (sessions["is_return"] == True).sum()  # noqa: E712
    assert totals["decided"] == sessions["is_hop"].notna().sum()
    assert totals["targets"] == table(root, "gold/user_sequences")["n_targets"].sum()
    assert f"{totals['events']:,}</dd>" in reported.good.read_text(encoding="utf-8")


def test_sessions_are_counted_as_in_the_table(figures: Any, sessions: pd.DataFrame) -> None:
    assert sum(figures["shape"]["sizes"].values()) == len(sessions)
    assert figures["shape"]["sizes"]["3–4"] == sessions["n_events"].between(3, 4).sum()
    lengths = (sessions["end_ts"] - sessions["start_ts"]).dt.total_seconds()
    for low, high, n in figures["shape"]["lengths"]:
        assert n == ((lengths >= low) & (lengths < high)).sum(), (low, high)


def test_gaps_are_those_between_a_users_events(reported: Reported, figures: Any) -> None:
    events = table(reported.case.path(), "bronze/events").sort_values(["user_id", "ts"])
    seconds = events["ts"].dt.floor("s").astype("int64")
    unit = 10**9 if str(events["ts"].dt.unit) == "ns" else 10**6
    gaps = (seconds.groupby(events["user_id"]).diff().dropna() / unit).round().astype(int)
    assert sum(n for _, _, n in figures["gold"]["gaps"]) == len(gaps)
    assert figures["gold"]["longer"] == {k: (gaps > int(k)).sum() for k in figures["gold"]["longer"]}


def test_hop_tests_lags_and_moves_are_those_of_the_sessions(figures: Any, sessions: pd.DataFrame) -> None:
    p_values = sessions.loc[sessions["is_hop"].notna(), "hop_p"].astype(float)
    bins = np.minimum(19, np.floor(p_values * 20)).astype(int).value_counts()
    assert figures["hopping"]["p_values"] == {str(at): n for at, n in bins.sort_index().items()}
    lags = sessions.loc[sessions["is_return"] == True, "return_lag"].astype(int).value_counts()  # noqa: E712
    assert figures["rates"]["lags"] == {str(lag): n for lag, n in lags.sort_index().items()}
    before = sessions.groupby("user_id")["theme_id"].shift()
    moves = pd.crosstab(before, sessions["theme_id"]).stack()
    found = {(row["source"], row["target"]): row["n"] for row in figures["transitions"]["pairs"]}
    assert found == {(int(a), int(b)): n for (a, b), n in moves.items() if n}


def test_moves_of_many_sessions_are_those_of_a_part_of_the_users(
    reported: Reported, sessions: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whole users, by a hash of their id, and the section says so."""
    monkeypatch.setattr(transitions, "MOST_SESSIONS", len(sessions) // 3)
    root = reported.case.path()
    found = transitions.measure(Snapshot(root, require_published(root).versions))
    hashes = sessions["user_id"].map(lambda user: hashlib.md5(user.encode()).hexdigest())
    some = sessions[hashes.str[:8].map(lambda first: int(first, 16)) < int(found.of_users * 16**8)]
    assert 0 < some["user_id"].nunique() < sessions["user_id"].nunique()
    before = some.groupby("user_id")["theme_id"].shift()
    moves = pd.crosstab(before, some["theme_id"]).stack()
    assert {(row["source"], row["target"]): row["n"] for row in found.pairs} == {
        (int(a), int(b)): n for (a, b), n in moves.items() if n
    }
    assert found.of_users == pytest.approx(1 / 3, abs=1 / len(sessions))


def test_rates_by_activity_sum_to_the_sessions(figures: Any, sessions: pd.DataFrame) -> None:
    per_user = sessions.groupby("user_id")["is_hop"].agg(["size", lambda hops: (hops == True).sum()])  # noqa: E712
    per_user.columns = ["sessions", "hops"]
    for row in figures["rates"]["bands"]:
        low, _, high = row["band"].replace("+", "–").partition("–")
        here = per_user[
            per_user["sessions"].between(int(low), int(high or low if "+" not in row["band"] else 1e9))
        ]
        assert (row["users"], row["hops"]) == (len(here), here["hops"].sum()), row["band"]


def test_strands_add_up_to_the_rows(reported: Reported, figures: Any) -> None:
    rows = table(reported.case.path(), "gold/user_sequences")
    for family in figures["strands"]["families"]:
        name = family["name"]
        places = np.concatenate(rows[f"{name}__pos"].to_numpy())
        assert family["places"] == len(places)
        assert family["placed"] == (places >= 0).sum()
        assert family["dropped"] == rows[f"{name}__dropped"].sum()


def test_activity_refusals_and_users_are_those_of_the_tables(reported: Reported, figures: Any) -> None:
    root = reported.case.path()
    modes = table(root, "bronze/events")["mode"].value_counts()
    for code, mode in enumerate(MODES, start=1):
        found = sum(row["n"] for row in figures["activity"]["over_time"] if row["mode"] == mode)
        assert found == modes.get(code, 0)
    users = table(root, "silver/users").sort_values("n_events", ascending=False)
    assert figures["heavy"]["top"][0]["n_events"] == users["n_events"].iloc[0]
    assert figures["funnel"]["reasons"] == dict(
        table(root, "bronze/events_rejected")["reason"].value_counts()
    )


def test_the_explorer_holds_whole_histories(reported: Reported, sessions: pd.DataFrame) -> None:
    """Every user's sessions and events are the tables', by id."""
    found = embedded(reported.good, "histories")
    events = table(reported.case.path(), "bronze/events")
    assert {user["kind"] for user in found["users"]} == {"hoppers", "returners", "steady", "heavy"}
    for user in found["users"]:
        own = sessions[sessions["user_id"] == user["user_id"]].iloc[-len(user["sessions"]) :]
        assert [one["theme"] for one in user["sessions"]] == own["theme_id"].tolist()
        items = events.loc[events["user_id"] == user["user_id"], "item_id"].value_counts()
        if items.sum() > LATEST:
            assert len(user["events"]["i"]) == LATEST
            continue
        held = pd.Series([found["items"][at] for at in user["events"]["i"]]).value_counts()
        assert held.to_dict() == items.to_dict()


def test_a_long_history_is_shown_from_its_last_rows(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a user with a million events nothing else may be read; what is shown is the end of the whole."""
    root = reported.case.path()
    pointer = require_published(root)
    tables, spec = Snapshot(root, pointer.versions), SequenceSpec.from_json(pointer.spec)
    chosen = choose(tables)
    whole = histories.read_histories(tables, spec, chosen)
    read = []
    monkeypatch.setattr(histories, "LATEST", 5)
    monkeypatch.setattr(
        histories,
        "_events",
        lambda rows, names, of=histories._events: read.append(len(rows)) or of(rows, names),
    )
    short = histories.read_histories(tables, spec, chosen)
    assert max(read) == 2
    rows = table(root, "gold/user_sequences")
    assert rows.loc[rows["user_id"].isin([one.user_id for one in chosen]), "chunk"].max() > 2
    for long, own in zip(whole["users"], short["users"], strict=True):
        named = [
            [found["items"][at] for at in user["events"]["i"]]
            for found, user in ((whole, long), (short, own))
        ]
        assert named[1] == named[0][-5:]
        assert own["events"]["t"] == long["events"]["t"][-5:]
        assert own["sessions"] == long["sessions"][-len(own["sessions"]) :]
        assert own["sessions"][0]["o"] == own["events"]["s"][0]


def test_every_section_is_there_with_a_sentence(reported: Reported) -> None:
    for file in (reported.good, reported.failed, reported.toy):
        text = file.read_text(encoding="utf-8")
        assert tuple(re.findall(r'<section id="([a-z]+)"', text)) == SECTIONS
        findings = re.findall(r'<p class="finding">(.*?)</p>', text)
        assert all(finding.endswith(".") for finding in findings if finding), findings
        assert len(text) < 5_000_000


def test_every_picture_is_valid_vega_lite(reported: Reported) -> None:
    text = reported.good.read_text(encoding="utf-8")
    specs = re.findall(r'<script type="application/json" id="[a-z-]+-spec">(.*?)</script>', text, re.DOTALL)
    assert len(specs) >= 18
    for spec in specs:
        altair.Chart.from_dict(json.loads(spec))


def test_a_failed_gate_stands_at_the_top_with_its_reason(reported: Reported) -> None:
    """What failed, by how much and what to do, and examples of what was refused in that very run."""
    text = reported.failed.read_text(encoding="utf-8")
    top = text[text.index("<main") : text.index("<section")]
    assert "quality gate failed" in top
    assert "bronze.rejected_share failed" in top
    assert "allowed at most 0.5" in top
    assert reported.summary["run_id"] in top  # what readers still see
    assert "&lt;b&gt;yesterday&lt;/b&gt;" in text
    figures = embedded(reported.failed, "figures")
    assert figures["totals"] == embedded(reported.good, "figures")["totals"]


def test_names_that_are_markup_are_escaped(reported: Reported) -> None:
    text = reported.good.read_text(encoding="utf-8")
    assert HOSTILE_USER not in text
    assert HOSTILE_ITEM not in text
    assert "&lt;script&gt;alert" in text
    assert any(user["user_id"] == HOSTILE_USER for user in embedded(reported.good, "histories")["users"])
    assert HOSTILE_ITEM in embedded(reported.good, "histories")["items"]


def test_users_that_are_asked_for_come_first(reported: Reported, tmp_path: Path) -> None:
    out = tmp_path / "one.html"
    write_report(str(reported.case.path()), users=[HOSTILE_USER], out=str(out))
    first = embedded(out, "histories")["users"][0]
    assert (first["user_id"], first["kind"]) == (HOSTILE_USER, "asked for")
    with pytest.raises(ConfigError, match="'nobody' has no published event"):
        write_report(str(reported.case.path()), users=["nobody"], out=str(out))


def test_two_builds_are_compared(
    reported: Reported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With another warehouse, and with a run of the same one; by the command line."""
    root, out = str(reported.case.path()), tmp_path / "compared.html"
    assert main(["--warehouse", root, "--compare", str(reported.case.path("toy")), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    text = out.read_text(encoding="utf-8")
    events = embedded(out, "figures")["totals"]["events"]
    toy = embedded(reported.toy, "figures")["totals"]["events"]
    assert (
        f'<td class="num">{events:,}</td><td class="num">{toy:,}</td><td class="num">+{events - toy:,}</td>'
        in text
    )
    assert main(["--warehouse", root, "--compare", reported.summary["run_id"], "--out", str(out)]) == 0
    assert "0 more events (+0.0" in out.read_text(encoding="utf-8")
    assert main(["--warehouse", root, "--compare", "another", "--out", str(out)]) == 2
    assert "no run another has published here" in capsys.readouterr().err


def test_a_report_that_fails_does_not_fail_the_run(
    reported: Reported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pipelines.build.write_report", fail)
    summary = reported.case.build(reported.case.folder / "few", "toy", set=["themes.count=2"])
    assert summary["report"] is None
    assert summary["report_error"] == "OSError: disk full"
    assert "WARNING: the build report could not be written: OSError: disk full" in capsys.readouterr().err
