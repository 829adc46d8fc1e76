"""The main job on generated events: counts, publishing, reruns, refusals, invariance and leakage."""

from pathlib import Path

import pandas as pd
import pytest

from pipelines.errors import GateError, SourceError, WarehouseError
from pipelines.pointer import published
from pipelines.runs import last_runs
from pipelines.synthetic.generate import generate
from pipelines.truth import read_sessions, score
from tests.content import WITH_REFUSED, contents, digest, learned, table
from tests.e2e.builds import COLUMNS, NOW, SETTINGS, Case

SUMMARY_KEYS = {
    "run_id", "events_in", "events_kept", "duplicates", "rejected", "users", "sessions", "hops", "returns",
    "themes", "rows_written", "gates", "versions", "seconds",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated")
    generate(SETTINGS, out)
    return out


@pytest.fixture(scope="module")
def events(generated: Path) -> pd.DataFrame:
    """The valid, distinct events, from the truth's ids, as the source writes them."""
    rows = pd.concat(pd.read_csv(file, dtype=str) for file in sorted((generated / "events").iterdir()))
    true = pd.read_parquet(generated / "truth" / "events.parquet", columns=["event_id"])
    kept = rows[rows["event_id"].isin(true["event_id"])].drop_duplicates("event_id")
    assert len(kept) == len(true)
    return kept[COLUMNS].sort_values("event_id", ignore_index=True)


@pytest.fixture(scope="module")
def built(generated: Path, tmp_path_factory: pytest.TempPathFactory, spark: object) -> tuple[Case, dict]:
    case = Case(tmp_path_factory.mktemp("built"))
    return case, dict(case.build(generated / "events"))


def test_the_summary_accounts_for_every_row(built: tuple[Case, dict], generated: Path) -> None:
    """events in = kept + duplicates + rejected, and the tables hold what the summary says."""
    case, summary = built
    assert summary.keys() >= SUMMARY_KEYS
    rejected = sum(summary["rejected"].values())
    assert summary["events_in"] == summary["events_kept"] + summary["duplicates"] + rejected
    assert summary["events_kept"] == SETTINGS.events == len(table(case.path(), "bronze/events"))
    assert len(table(case.path(), "bronze/events_rejected")) == rejected > 0
    assert len(table(case.path(), "silver/sessions")) == summary["sessions"]
    assert len(table(case.path(), "gold/user_sequences")) == summary["rows_written"]
    assert all(summary["gates"].values())


def test_everything_is_published_by_one_pointer(built: tuple[Case, dict]) -> None:
    case, summary = built
    pointer = published(str(case.path()))
    assert pointer is not None
    assert pointer.versions == summary["versions"]
    assert pointer.run_id == summary["run_id"]
    assert [run.status for run in last_runs(str(case.path()), 5)] == ["done"]


def test_sessions_are_exactly_the_true_ones(built: tuple[Case, dict], generated: Path) -> None:
    case, _ = built
    truth = pd.read_parquet(generated / "truth" / "sessions.parquet")
    found = score(truth, read_sessions(str(case.path())))
    assert found.sessions_exact == found.sessions_true == found.sessions_found


def test_a_rerun_keeps_nothing_new_and_changes_no_row(generated: Path, tmp_path: Path) -> None:
    case = Case(tmp_path)
    first = case.build(generated / "events")
    before = digest(case.path(), WITH_REFUSED)
    second = case.build(generated / "events")
    assert second["events_kept"] == 0 and second["rejected"] == {}
    assert second["duplicates"] == first["events_in"]
    assert second["fit_id"] == first["fit_id"]
    assert digest(case.path(), WITH_REFUSED) == before


def test_a_column_of_another_kind_is_refused_by_the_next_run(events: pd.DataFrame, tmp_path: Path) -> None:
    case = Case(tmp_path, ["source.format=parquet"])
    rows = events.iloc[:3_000]
    rows.to_parquet(tmp_path / "day.parquet", index=False)
    case.build(tmp_path / "day.parquet")
    before = case.published()
    assert before.column_kinds == dict.fromkeys(COLUMNS, "text")
    numbers = rows.assign(item_id=pd.factorize(rows["item_id"])[0])
    numbers.to_parquet(tmp_path / "next.parquet", index=False)
    with pytest.raises(
        SourceError, match=r"next\.parquet: column item_id \(item_id\) is number, but was text"
    ):
        case.build(tmp_path / "next.parquet")
    assert case.published() == before


@pytest.mark.slow
def test_file_order_partitions_and_cores_do_not_matter(events: pd.DataFrame, tmp_path: Path) -> None:
    """The same events, dealt otherwise into files and partitions, learn the same fit and rows."""
    case = Case(tmp_path)
    one = case.build(case.write(events, "sorted"), "one", set=["spark.partitions=1"])
    shuffled = events.sample(frac=1, random_state=5)
    five = case.build(case.write(shuffled, "shuffled", files=3), "five", set=["spark.partitions=5"])
    assert one["fit_id"] == five["fit_id"]
    assert digest(case.path("one")) == digest(case.path("five"))


def test_nothing_at_or_after_as_of_reaches_a_row(events: pd.DataFrame, tmp_path: Path) -> None:
    """Events at or after as_of are changed, added and dropped: silver and gold stay as they were."""
    case = Case(tmp_path)
    as_of = pd.to_datetime(events["ts"], utc=True).quantile(0.7).floor("s")
    later = pd.to_datetime(events["ts"], utc=True) >= as_of
    future = events[later].iloc[::2].assign(item_id="never seen", category_id="never seen")
    extra = (
        events[~later]
        .head(200)
        .assign(ts=as_of.isoformat(), event_id=[f"extra-{n}" for n in range(200)], category_id="brand new")
    )
    changed = pd.concat([events[~later], future, extra])
    request = {"as_of": as_of.to_pydatetime(), "set": [f"fit.train_end={as_of.isoformat()}"]}
    case.build(case.write(events, "honest"), "one", **request)
    case.build(case.write(changed, "altered"), "two", **request)
    tables = ("silver/sessions", "silver/users", "gold/user_sequences")
    assert learned(case.path("one")) == learned(case.path("two"))
    assert contents(case.path("one"), tables) == contents(case.path("two"), tables)
    assert contents(case.path("one"), ("bronze/events",)) != contents(case.path("two"), ("bronze/events",))


def test_nothing_after_train_end_reaches_what_is_learned(events: pd.DataFrame, tmp_path: Path) -> None:
    case = Case(tmp_path)
    times = pd.to_datetime(events["ts"], utc=True)
    train_end = times.quantile(0.6).floor("s")
    changed = events[(times < train_end) | (events.index % 2 == 0)].copy()
    after = pd.to_datetime(changed["ts"], utc=True) >= train_end
    changed.loc[after, "item_id"] = changed.loc[after, "item_id"].sample(frac=1, random_state=1).to_numpy()
    request = {"set": [f"fit.train_end={train_end.isoformat()}"]}
    honest = case.build(case.write(events, "honest"), "one", **request)
    altered = case.build(case.write(changed, "altered"), "two", **request)
    assert learned(case.path("one")) == learned(case.path("two"))
    assert honest["sessions"] != altered["sessions"]


def test_a_warehouse_is_not_continued_with_another_config(built: tuple[Case, dict], generated: Path) -> None:
    case, _ = built
    with pytest.raises(WarehouseError, match=r"sessions\.gap = 30min, this config says 1h"):
        case.build(generated / "events", set=["sessions.gap=1h"])


@pytest.mark.slow
def test_a_full_refresh_starts_over_with_another_config(generated: Path, tmp_path: Path) -> None:
    case = Case(tmp_path)
    first = case.build(generated / "events")
    second = case.build(generated / "events", set=["sessions.gap=1h"], full_refresh=True)
    assert second["events_kept"] == first["events_kept"]
    assert second["duplicates"] == first["duplicates"]
    assert second["sessions"] < first["sessions"]


@pytest.mark.slow
def test_a_failed_gate_publishes_nothing(generated: Path, events: pd.DataFrame, tmp_path: Path) -> None:
    """Too many rejected rows stop the run at bronze; the next good run ends as if it never was."""
    case = Case(tmp_path)
    first = case.build(generated / "events")
    before = digest(case.path())
    bad = events.assign(ts="yesterday", event_id="bad-" + events["event_id"])
    with pytest.raises(GateError, match="rejected"):
        case.build(case.write(bad, "bad"))
    pointer = published(str(case.path()))
    assert pointer is not None
    assert pointer.run_id == first["run_id"]
    failed = last_runs(str(case.path()), 1)[0]
    assert failed.status == "gate_failed"
    assert any("rejected" in name for name in failed.failed_gates)
    case.build(generated / "events")
    assert digest(case.path()) == before


@pytest.mark.slow
def test_a_run_that_dies_leaves_nothing_to_the_next(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run dies after it wrote silver: the next one restores and ends with the same tables."""
    case = Case(tmp_path)
    case.build(generated / "events", "calm")

    def die(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.layers.gold_metrics", die)
        with pytest.raises(RuntimeError, match="power cut"):
            case.build(generated / "events", "cut")
    assert published(str(case.path("cut"))) is None
    summary = case.build(generated / "events", "cut")
    assert summary["events_kept"] == SETTINGS.events
    assert digest(case.path("cut")) == digest(case.path("calm"))


def test_future_events_are_rejected_by_the_runs_clock(events: pd.DataFrame, tmp_path: Path) -> None:
    case = Case(tmp_path)
    ahead = events.head(1).assign(event_id="ahead", ts="2037-01-01T00:00:00Z")
    summary = case.build(case.write(pd.concat([events, ahead]), "ahead"), now=NOW)
    assert summary["rejected"] == {"future": 1}
