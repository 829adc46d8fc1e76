"""A few users with their history, what was recommended, and what was really next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from features.codes import FIRST_INDEX
from training.evaluate.run import answering
from training.fit.measure import negatives_for
from training.model import as_model
from training.report.asked import Asked, Piece, pick
from training.report.names import Names
from training.report.usage import names_of
from training.serving.scoring import Scored, best, scored

RECOMMENDED: Final = 10
HISTORY: Final = 60
"""Events of a history that are shown, the latest (our choice)."""

READABLE: Final = (8, 80)
"""Visible events of a user who is chosen, where there is one (our choice)."""


class Kind(NamedTuple):
    """What makes a target instructive."""

    title: str
    why: str


KINDS: Final[Mapping[str, Kind]] = {
    "return_found": Kind(
        "A return that it found", "back to an earlier theme, and what came next was in the list"
    ),
    "return_missed": Kind(
        "A return that it missed", "back to an earlier theme, and what came next was not in the list"
    ),
    "hop": Kind("A hop to something new", "a session far from the one before it"),
    "steady": Kind("A steady user", "on with the theme of the session"),
    "steady_missed": Kind("A steady user, missed", "on with the session, and still not in the list"),
}


class Event(NamedTuple):
    """An event of a history."""

    ts: int  # unix seconds
    item: str
    category: str | None
    kind: str


@dataclass(frozen=True)
class Session:
    """Consecutive events of a history with one session ordinal."""

    ordinal: int
    theme: str
    code: int  # of the theme, 1 for none
    events: Sequence[Event]


@dataclass(frozen=True)
class Person:
    """One target: what its user had done, what was recommended as next, what was next."""

    kind: str
    user: str
    ts: int
    history: Sequence[Session]  # oldest first
    left_out: int  # older events that are not shown
    recommended: Sequence[tuple[str, str | None]]  # item and its category, best first
    following: tuple[str, str | None]  # item and category of what was next
    ranks: Mapping[str, float]  # by model; infinite for an item that it does not know
    rests_on: Sequence[tuple[str, str, float | None]]  # part, key, share of the answer
    of: str  # what was ranked


def chosen(frame: pd.DataFrame, rival: pd.DataFrame | None = None) -> dict[str, int]:
    """Kind -> place in the frame of an instructive target, every user once; kinds without one are left out.

    Of the targets of a kind those with readable histories come first; of a found return the one that a
    rival ranks worst, of what is missed the one of median rank.
    """
    rank = frame["rank"].to_numpy() if "rank" in frame else _rank_of_auc(frame)
    known = np.isfinite(rank)
    back, opens, hop = (frame[name].to_numpy() for name in ("returning", "session_start", "hop"))
    masks = {
        "return_found": known & back & (rank <= RECOMMENDED),
        "return_missed": known & back & (rank > RECOMMENDED),
        "hop": known & opens & (hop == 1) & ~back,
        "steady": known & ~opens & (hop == 0) & (rank <= RECOMMENDED),
        "steady_missed": known & ~opens & (hop == 0) & (rank > 5 * RECOMMENDED),
    }
    theirs = rank if rival is None or "rank" not in rival else rival["rank"].to_numpy()
    gain = np.nan_to_num(np.minimum(theirs, 1e9)) - np.minimum(rank, 1e9)
    history = frame["history"].to_numpy()
    readable = (history >= READABLE[0]) & (history <= READABLE[1])
    users, taken, found = frame["user"].to_numpy(), set[int](), dict[str, int]()
    for kind, mask in masks.items():
        free = mask & ~np.isin(users, list(taken))
        places = np.flatnonzero(free & readable if (free & readable).any() else free)
        if not len(places):
            continue
        if kind.endswith("missed"):
            order = np.argsort(rank[places], kind="stable")
            place = int(places[order[len(order) // 2]])
        else:
            place = int(places[np.argmax(gain[places])])
        found[kind] = place
        taken.add(int(users[place]))
    return found


def _rank_of_auc(frame: pd.DataFrame, drawn: int = 50) -> NDArray[np.float64]:
    """Ranks among a target and its ``drawn`` negatives, from the share of them that it beats."""
    rank: NDArray[np.float64] = 1 + np.round((1 - frame["auc"].fillna(0).to_numpy()) * drawn)
    return rank


class _Book(NamedTuple):
    """What every person's entry is written from."""

    asked: Asked
    names: Names
    user_names: Mapping[int, str]
    ranks: Mapping[str, NDArray[np.float64]]  # by model, in the order of the first one's frame


def people(
    asked: Asked, frames: Mapping[str, pd.DataFrame], names: Names, user_names: Mapping[int, str]
) -> list[Person]:
    """The chosen targets of the first of ``frames``, which are ``asked``'s results per target."""
    own = next(iter(frames.values()))
    alike = {label: frame for label, frame in frames.items() if len(frame) == len(own)}
    rival = next((frame for frame in alike.values() if frame is not own), None)
    targets = target_places(own, asked)
    kinds = {int(targets[at]): (kind, at) for kind, at in chosen(own, rival).items()}
    ranks = {
        label: frame["rank"].to_numpy() if "rank" in frame else _rank_of_auc(frame)
        for label, frame in alike.items()
    }
    book, found = _Book(asked, names, user_names, ranks), {}
    with answering(as_model(asked.model)):
        for piece in pick(asked, np.sort(np.array(list(kinds), np.int64))):
            answer = _answer(asked, piece)
            for at, place in enumerate(piece.at.tolist()):
                found[kinds[place][0]] = _person(book, piece, answer, at, kinds[place])
    return [found[kind] for kind in KINDS if kind in found]


def target_places(frame: pd.DataFrame, asked: Asked) -> NDArray[np.int64]:
    """Place of each row of the frame among ``asked``'s targets: click models leave unknown items out."""
    item = torch.cat([samples.item for batch in asked.batches if (samples := batch.samples) is not None])
    if len(frame) == len(item):
        return np.arange(len(item))
    return np.flatnonzero(item.numpy() >= FIRST_INDEX)


class _Answer(NamedTuple):
    codes: Sequence[Sequence[int]]
    scored: Scored | None
    of: str


def _answer(asked: Asked, piece: Piece) -> _Answer:
    """The best items of each question: of the catalogue or, for click models, of the drawn candidates."""
    negatives = negatives_for(asked.config, asked.vocabulary)
    if negatives is None:
        answer = scored(asked.model, piece.rows, piece.questions)
        codes = [best(row, RECOMMENDED)[0].tolist() for row in answer.scores]
        return _Answer(codes, answer, "all items")
    with_candidates = negatives.candidates(piece.rows, piece.targets)
    values = as_model(asked.model).score_candidates(piece.rows, with_candidates)
    assert with_candidates.cand_item is not None
    order = values.argsort(dim=1, descending=True, stable=True)[:, :RECOMMENDED]
    codes = with_candidates.cand_item.gather(1, order).tolist()
    return _Answer(codes, None, f"it and {negatives.drawn} drawn items")


def _person(book: _Book, piece: Piece, answer: _Answer, at: int, case: tuple[str, int]) -> Person:
    """The ``at``-th target of the piece; ``case`` is its kind and its row in the frames."""
    names, row, target = book.names, int(piece.targets.row[at]), int(piece.targets.item[at])
    history, left_out = _history(piece, at, names)
    return Person(
        kind=case[0],
        user=book.user_names.get(int(piece.rows.user_id[row]), "unnamed"),
        ts=int(piece.targets.query_ts[at]),
        history=history,
        left_out=left_out,
        recommended=[(names.item(code), names.category_of(code)) for code in answer.codes[at]],
        following=(names.item(target), names.category_of(target) if target >= FIRST_INDEX else None),
        ranks={label: float(rank[case[1]]) for label, rank in book.ranks.items()},
        rests_on=[] if answer.scored is None else _rests_on(book.asked, answer.scored, at, names),
        of=answer.of,
    )


def _rests_on(asked: Asked, answer: Scored, at: int, names: Names) -> list[tuple[str, str, float | None]]:
    window = getattr(getattr(asked.model, "experts", None), "window", None)
    parts = names_of(answer.strands, window)
    return [
        (
            part,
            names.key(strand.family, int(strand.key[at])) if int(strand.key[at]) >= FIRST_INDEX else "",
            None if strand.weight is None else float(strand.weight[at]),
        )
        for part, strand in zip(parts, answer.strands, strict=True)
        if bool(strand.present[at])
    ]


def _history(piece: Piece, at: int, names: Names) -> tuple[list[Session], int]:
    """The visible events by session; of the last one the running theme, for it may go on."""
    rows, row, end = piece.rows, int(piece.targets.row[at]), int(piece.targets.end[at])
    start = max(0, end - HISTORY)
    item, category, kind, session, ts, theme = (
        getattr(rows, name)[row, start:end].tolist()
        for name in ("item", "category", "type", "session", "ts", "session_theme")
    )
    running = rows.theme[row, start:end].tolist()
    sessions: list[Session] = []
    for ordinal in dict.fromkeys(session):
        own = [place for place, one in enumerate(session) if one == ordinal]
        code = running[own[-1]] if ordinal == session[-1] else theme[own[-1]]
        events = [
            Event(
                ts[place], names.item(item[place]), _category(names, category[place]), names.type(kind[place])
            )
            for place in own
        ]
        sessions.append(Session(int(ordinal), names.key("theme", int(code)), int(code), events))
    return sessions, start


def _category(names: Names, code: int) -> str | None:
    return names.category(code) if code >= FIRST_INDEX else None


def user_names(ids: Sequence[str], numbers: NDArray[np.int64], wanted: Sequence[int]) -> dict[int, str]:
    """Ids of the users with the ``wanted`` numbers."""
    places = np.flatnonzero(np.isin(numbers, np.asarray(wanted, np.int64)))
    return {int(numbers[place]): str(ids[place]) for place in places.tolist()}


def frame_order(frame: pd.DataFrame, asked: Asked) -> bool:
    """Whether the frame's rows are the targets of ``asked``, in their order."""
    user = [
        batch.rows.user_id[samples.row] for batch in asked.batches if (samples := batch.samples) is not None
    ]
    if not user:
        return False
    numbers, places = torch.cat(user).numpy(), target_places(frame, asked)
    return len(places) == len(frame) and np.array_equal(numbers[places], frame["user"].to_numpy())
