"""Raw events through serving give the tensors and scores of the tables, and of an evaluation's target."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from tests.oracles.strands import strands
from tests.training.gold import SPEC
from tests.training.serving import warehouse as small
from training.batch import Batch
from training.errors import DataError
from training.evaluate.queries import without_answers
from training.gold import EVENTS
from training.model import as_model
from training.published import SEQUENCES, latest
from training.serving.questions import Questions
from training.serving.served import EPOCH, Served
from training.source import RowSource
from training.splits import FOREVER, Split

MODELS = ("mos", "ulim", "sasrec", "cmsl", "frequency")
LATER = (timedelta(0), timedelta(minutes=29), timedelta(minutes=31), timedelta(days=3))


def as_given(events: pd.DataFrame) -> pd.DataFrame:
    """The raw events as a source with ISO times would send them, some twice, in another order."""
    given = events[small.COLUMNS].assign(
        ts=pd.to_datetime(events["ts"], unit="us", utc=True).map(lambda at: at.isoformat())
    )
    return pd.concat([given, given.sample(frac=0.2, random_state=5)]).sample(frac=1.0, random_state=6)


def last_rows(warehouse: Path) -> pa.Table:
    """The last row of each user in the table."""
    rows = latest(str(warehouse)).read(SEQUENCES).to_pandas()
    return pa.Table.from_pandas(rows.sort_values("chunk").groupby("user_id").tail(1), preserve_index=False)


def asked(served: Served, events: pd.DataFrame, as_of: datetime) -> dict[str, tuple[Questions, int]]:
    """What serving asks of a model for raw events, by user."""
    request, found = served.read(as_given(events), as_of=as_of)
    return by_user(served, found.rows, request.user_ids, as_of)


def by_user(
    served: Served, rows: pa.Table, users: list[str], as_of: datetime
) -> dict[str, tuple[Questions, int]]:
    micros = (as_of - EPOCH) // timedelta(microseconds=1)
    parts = served.asking.questions(rows, users, micros)
    return {users[user]: (part, at) for part in parts for at, user in enumerate(part.user.tolist())}


def tensors(question: tuple[Questions, int]) -> dict[str, torch.Tensor]:
    """All that a model gets, but for the row's name and its place in the batch."""
    part, at = question
    rows = {name: value[at] for name, value in vars(part.rows).items() if name != "row_id"}
    samples = {name: value[at] for name, value in vars(part.samples).items() if value is not None}
    return rows | {f"asked {name}": value for name, value in samples.items() if name != "row"}


def catalogue(served: Served, question: tuple[Questions, int]) -> torch.Tensor:
    part, at = question
    with torch.inference_mode():
        return as_model(served.model).score_catalogue(part.rows, part.samples)[at]


@pytest.mark.parametrize("later", LATER, ids=str)
def test_tensors_are_those_of_the_tables_last_rows(
    served: Callable[[str], Served], events: pd.DataFrame, warehouse: Path, later: timedelta
) -> None:
    model, as_of, rows = served("mos"), latest(str(warehouse)).as_of + later, last_rows(warehouse)
    ours = asked(model, events, as_of)
    theirs = by_user(model, rows, rows.column("user_id").to_pylist(), as_of)
    assert ours.keys() == theirs.keys() == set(events["user_id"])
    assert sum(rows.column("chunk").to_numpy() > 0) >= 4
    for user, question in ours.items():
        found, expected = tensors(question), tensors(theirs[user])
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert torch.equal(value, expected[name]), (user, name)


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_the_tables_last_rows(
    served: Callable[[str], Served], events: pd.DataFrame, warehouse: Path, name: str
) -> None:
    model, as_of = served(name), latest(str(warehouse)).as_of + timedelta(hours=1)
    ours = model.recommend(as_given(events), as_of=as_of, top_k=5).set_index("user_id")
    theirs = model.recommend_rows(last_rows(warehouse), as_of=as_of, top_k=5).set_index("user_id")
    for user, answer in ours.iterrows():
        assert answer["items"] == theirs.loc[user, "items"]
        assert answer["scores"] == theirs.loc[user, "scores"]  # computed together, hence to the bit
        assert answer["theme"] == theirs.loc[user, "theme"]
        assert [s["items"] for s in answer["strands"]] == [s["items"] for s in theirs.loc[user, "strands"]]


@pytest.mark.parametrize("name", MODELS)
def test_an_evaluation_asks_the_same_of_the_next_event(
    served: Callable[[str], Served], events: pd.DataFrame, name: str
) -> None:
    """Each user does one thing more: as a target of the table it sees what serving had seen.

    That holds where the history is one chunk, and where the event opens a chunk.
    """
    model = served(name)
    as_of = datetime.fromtimestamp(int(events["ts"].max()) / 1e6, UTC) + timedelta(hours=2)
    micros = (as_of - EPOCH) // timedelta(microseconds=1)
    users = sorted(events["user_id"].unique())
    more = pd.DataFrame(
        {
            "user_id": users,
            "item_id": "i3",
            "category_id": "c3",
            "event_type": "pv",
            "ts": micros,
            "event_id": "x",
        }
    )
    rows = small.gold(pd.concat([events, more]), small.fitted(events), names=events)
    chunks = rows.select(["user_id", "chunk", "n_targets"]).to_pandas().sort_values("chunk")
    last = chunks.groupby("user_id").tail(1).set_index("user_id")
    ours = asked(model, events, as_of)
    whole, opening = 0, 0
    source = RowSource.of_arrow(rows, SPEC, model.vocabulary, model.asking.window)
    numbers = {int(tensors(question)["user_id"]): user for user, question in ours.items()}
    for batch in source.batches(Split("next", micros // small.SECOND, FOREVER)):
        for at, number in enumerate(batch.rows.user_id[batch.samples.row].tolist()):
            user = numbers[number]
            if last.loc[user, "chunk"] == 0:
                whole += 1
            elif last.loc[user, "n_targets"] == 1:
                opening += 1
            else:
                continue
            compare(model, ours[user], batch, at)
    assert whole >= 4 and opening >= 1


def compare(model: Served, ours: tuple[Questions, int], batch: Batch, at: int) -> None:
    """The latest events, the query, and the scores where the evaluation's window holds as many events."""
    found, (row, end) = tensors(ours), (int(batch.samples.row[at]), int(batch.samples.end[at]))
    own = int(found["asked end"])
    seen = min(own, end)
    assert seen >= min(own, 32)  # the window that an evaluation grants at least
    for name in EVENTS:
        expected = getattr(batch.rows, name)[row, end - seen : end]
        # the open session's end is read by none
        if name != "session_theme":
            assert torch.equal(found[name][own - seen : own], expected), name
    for name in ("query_ts", "query_gap", "new_session"):
        assert found[f"asked {name}"] == getattr(batch.samples, name)[at]
    if own == end:
        with torch.inference_mode():
            samples = without_answers(batch.samples)
            scores = as_model(model.model).score_catalogue(batch.rows, samples)[at]
        assert torch.allclose(catalogue(model, ours), scores, rtol=1e-5, atol=1e-6)


def test_a_long_history_keeps_what_the_strands_at_its_end_hold(
    served: Callable[[str], Served], events: pd.DataFrame, warehouse: Path
) -> None:
    """Against strands by plain loops over whole histories."""
    model, as_of = served("mos"), latest(str(warehouse)).as_of
    chunks = last_rows(warehouse).select(["user_id", "chunk"]).to_pandas().set_index("user_id")["chunk"]
    long = chunks[chunks > 0].index
    ours = asked(model, events, as_of)
    for user, history in small.tagged(events, small.fitted(events)).items():
        if user in long:
            held = {at for family in SPEC.families for _, places in strands(history, len(history), family)
                    for at in places}  # fmt: skip
            items = np.array([history[at].item for at in sorted(held)][-63:], np.int32)
            found = tensors(ours[user])
            assert (
                found["item"][: int(found["asked end"])].tolist()
                == model.vocabulary.encode("item", items).tolist()
            )
    assert len(long) >= 4


def test_rows_of_the_future_are_refused(served: Callable[[str], Served], warehouse: Path) -> None:
    with pytest.raises(DataError, match="1 rows hold events at or after as_of"):
        served("mos").recommend_rows(
            last_rows(warehouse), as_of=latest(str(warehouse)).as_of - timedelta(seconds=1)
        )


def test_one_row_a_user(served: Callable[[str], Served], warehouse: Path) -> None:
    with pytest.raises(DataError, match="give each user's last row alone"):
        served("mos").recommend_rows(
            latest(str(warehouse)).read(SEQUENCES), as_of=datetime(2024, 5, 1, tzinfo=UTC)
        )


def test_older_events_than_the_strands_read_change_nothing(
    served: Callable[[str], Served], events: pd.DataFrame, warehouse: Path
) -> None:
    """A request may leave out the sessions before the first one that the last row of the table reads."""
    model, as_of = served("mos"), latest(str(warehouse)).as_of
    rows = last_rows(warehouse).to_pandas().set_index("user_id")
    user = rows[rows["chunk"] > 1].index[-1]
    session = min(at for at in rows.loc[user, "events__session"] if at)
    history = small.tagged(events, small.fitted(events))[user]
    opened = next(event.ts for event in history if event.session == session)
    own = events[events["user_id"] == user]
    assert session > 1
    (whole,) = model.recommend(as_given(own), as_of=as_of).to_dict("records")
    (part,) = model.recommend(as_given(own[own["ts"] >= opened]), as_of=as_of).to_dict("records")
    assert part["items"] == whole["items"] and part["scores"] == pytest.approx(whole["scores"], rel=1e-5)
    assert part["strands"] == whole["strands"]
