"""A request: raw events of users as a frame, checked and typed. Nothing here knows the model.

One row an event. A row with neither an item nor a time is no event: it names a user, who may have no history,
or, with ``candidate_id``, asks for that item's score.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features.instants import UNIT_US
from training.errors import RequestError
from training.serving.columns import integers, micros, shown, texts

REQUIRED: Final = ("user_id", "item_id", "ts")
OPTIONAL: Final = ("category_id", "event_type", "event_id", "sequence", "session_key", "candidate_id")
COLUMNS: Final = (*REQUIRED, *OPTIONAL)

MAX_USERS: Final = 1_000
MAX_ROWS: Final = 200_000
MAX_TOP_K: Final = 1_000
"""What one request may hold: more is a job for batch scoring, and would keep others waiting (our choice)."""

Unit = Literal["s", "ms", "us", "iso"]


@dataclass(frozen=True)
class Asked:
    """Whose next events are asked for, and by what; U users in the order in which they first appear."""

    user_ids: list[str]  # U
    events: pa.RecordBatch  # columns of ``REQUIRED`` and ``OPTIONAL`` as given; ts int64 µs
    user: NDArray[np.int64]  # place of each event's user
    with_categories: bool  # whether the request has a column for them
    candidates: dict[int, list[str]]  # by place of the user, in the order given
    as_of: int  # µs
    top_k: int


def read_request(
    frame: pd.DataFrame, *, top_k: Any, as_of: datetime | str | float, unit: Unit, keyed: bool
) -> Asked:
    """The request of a frame; ``unit`` is that of numbers in ``ts`` and ``as_of``.

    ``keyed``: sessions are the source's, so that every event needs its ``session_key``. RequestError where
    the frame or a parameter is not what it should be.
    """
    frame = _columns(frame)
    most, instant = _top_k(top_k), _as_of(as_of, unit)
    columns, timed = _typed(frame, unit)
    _check(columns, timed, keyed)
    encoded = columns["user_id"].dictionary_encode()
    user, users = encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
    if len(users) > MAX_USERS:
        raise RequestError(f"{len(users):,} users in one request; ask for {MAX_USERS:,} at most at a time")
    candidates: dict[int, list[str]] = {}
    for at in np.flatnonzero(_there(columns["candidate_id"])).tolist():
        candidates.setdefault(int(user[at]), []).append(columns["candidate_id"][at].as_py())
    events = pa.RecordBatch.from_pydict(columns).filter(pa.array(timed))
    return Asked(users, events, user[timed], "category_id" in frame, candidates, instant, most)


def from_records(records: Any) -> pd.DataFrame:
    """A frame of JSON records: a list of objects, one a row; RequestError for anything else."""
    if not isinstance(records, list):
        raise RequestError(f"events are {shown(records)}; give a list of records, one an event")
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise RequestError(f"row {row}: {shown(record)} is no record; give an object with {_names()}")
    return pd.DataFrame(records, dtype=object)


def _columns(frame: pd.DataFrame) -> pd.DataFrame:
    if len(frame) > MAX_ROWS:
        raise RequestError(
            f"{len(frame):,} rows in one request; send {MAX_ROWS:,} at most, of each user the latest events"
        )
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise RequestError(f"column {shown(twice)} is given twice; give it once")
    for name in frame.columns:
        if name not in COLUMNS:
            near = difflib.get_close_matches(str(name), COLUMNS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {_names()}"
            raise RequestError(f"column {shown(name)} is unknown; {hint}")
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise RequestError(f"column {missing[0]} is missing; a row is an event with {_names()}")
    if frame.empty:
        raise RequestError("the request holds no row; name a user by a row without item_id and ts at least")
    return _unpacked(frame.reset_index(drop=True))


def _unpacked(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame; MLflow packs ``inputs`` whose columns are all text into one row of lists."""
    cells = frame.iloc[0].to_dict()
    if len(frame) > 1 or not all(isinstance(cell, list | np.ndarray) for cell in cells.values()):
        return frame
    sizes = {name: len(cell) for name, cell in cells.items()}
    if len(set(sizes.values())) > 1:
        raise RequestError(f"the columns differ in length ({sizes}); give one value for each row")
    return _columns(pd.DataFrame(cells, dtype=object))


def _names() -> str:
    return f"{', '.join(REQUIRED)} and, where there is one, {', '.join(OPTIONAL)}"


def _texts(frame: pd.DataFrame, name: str) -> pa.StringArray:
    return texts(frame[name], name) if name in frame else pa.nulls(len(frame), pa.string())


def _typed(frame: pd.DataFrame, unit: Unit) -> tuple[dict[str, pa.Array], NDArray[np.bool_]]:
    """Every column, absent ones null, and whether each row has a time: is an event."""
    columns = {name: _texts(frame, name) for name in COLUMNS if name not in ("ts", "sequence")}
    absent = "sequence" not in frame
    columns["sequence"] = (
        pa.nulls(len(frame), pa.int64()) if absent else integers(frame["sequence"], "sequence")
    )
    ts, timed = micros(frame["ts"], "ts", unit)
    return columns | {"ts": pa.array(ts)}, timed


def _check(columns: dict[str, pa.Array], timed: NDArray[np.bool_], keyed: bool) -> None:
    """RequestError that names the first row which is neither an event nor a question."""
    there = {name: _there(values) for name, values in columns.items()}
    _require(there["user_id"], "user_id is missing or blank")
    whole = "give both for an event, none to name a user"
    _require(there["item_id"] | ~timed, f"ts is given without item_id; {whole}")
    _require(timed | ~there["item_id"], f"item_id is given without ts; {whole}")
    _require(~(there["candidate_id"] & timed), "is an event and asks for a candidate_id; give two rows")
    if (there["event_id"] & timed).any():
        _require(
            there["event_id"] | ~timed, "event_id is missing, though other events have one; give all or none"
        )
    if keyed:
        _require(
            there["session_key"] | ~timed, "session_key is missing: this model's source gives the sessions"
        )


def _there(values: pa.Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = values.is_valid().to_numpy(zero_copy_only=False)
    return found


def _require(holds: NDArray[np.bool_], message: str) -> None:
    """RequestError that names the first row for which the condition does not hold."""
    wrong = np.flatnonzero(~holds)
    if len(wrong):
        more = f" (and {len(wrong) - 1:,} rows more)" if len(wrong) > 1 else ""
        raise RequestError(f"row {wrong[0]}: {message}{more}")


def _top_k(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= MAX_TOP_K:
        raise RequestError(f"top_k = {shown(value)}; give a whole number from 1 to {MAX_TOP_K:,}")
    return int(value)


def _as_of(value: Any, unit: Unit) -> int:
    try:
        found, there = micros(pd.Series([value]), "as_of", unit)
    except RequestError as error:
        raise RequestError(str(error).removeprefix("row 0: ")) from None
    if not there[0]:
        raise RequestError(f"as_of = {shown(value)}; give the time as of which to answer")
    return int(found[0])


def read_unit(given: str, own: Unit) -> Unit:
    """The unit of numbers in a request: the one given, else the source's; RequestError for an unknown one."""
    if given == "":
        return own
    if given not in (*UNIT_US, "iso"):
        raise RequestError(f"ts_unit = {shown(given)}; give {', '.join(UNIT_US)} or iso")
    found: Any = given
    unit: Unit = found
    return unit
