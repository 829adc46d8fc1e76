"""Is hopping real in this data? Similarities inside, between and across sessions, with intervals.

Two representations: category histograms, and dense interests (sums of item vectors). A similarity is
the cosine of two bags of events, averaged over pairs of bags; intervals are percentiles over users
drawn with replacement (Efron 1979), since a user's sessions are not independent. Our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.block import EventBlock
from features.codes import FIRST_INDEX
from features.hops import (
    PAIRS,
    SIDE,
    SessionVectors,
    class_pair,
    draw_windows,
    pair_name,
    size_counts,
    user_hash,
)
from features.similarity import Similarity, category_similarity, vector_similarity
from features.vectors import VectorTable

MIN_WINDOWS: Final = 20
"""Fewest windows inside sessions for a class pair to enter the size-matched comparison."""


@dataclass(frozen=True)
class Sample:
    """N events of U users, users ordered by the hash of their ids: the input's order leaves no trace."""

    user: NDArray[np.int64]  # (N,) ascending
    session: NDArray[np.int64]  # (N,) number of the session in the sample, ascending
    category: NDArray[np.int32]  # (N,)
    rows: NDArray[np.int32]  # (N,) of the vectors, 0 without
    ordinal: NDArray[np.int32]  # (S,) session ordinal of the user
    owner: NDArray[np.int64]  # (S,) user of the session
    hashes: NDArray[np.uint64]  # (U,)

    @classmethod
    def of(cls, blocks: Sequence[EventBlock], table: VectorTable) -> "Sample":
        """The events of successive blocks; a user may go on from one block to the next."""
        names = sorted({name for block in blocks for name in block.user_ids}, key=lambda n: (user_hash(n), n))
        number = {name: k for k, name in enumerate(names)}
        own = [np.array([number[name] for name in block.user_ids], dtype=np.int64) for block in blocks]
        user = np.concatenate([np.repeat(u, np.diff(b.offsets)) for u, b in zip(own, blocks, strict=True)])
        order = np.argsort(user, kind="stable")
        item, category, ordinal = (
            np.concatenate([getattr(block, name) for block in blocks])[order]
            for name in ("item", "category", "session")
        )
        user = user[order]
        begins = np.append(True, (np.diff(user) != 0) | (np.diff(ordinal) != 0))
        hashes = np.array([user_hash(name) for name in names], dtype=np.uint64)
        rows, _ = table.lookup(item, category)
        session = np.cumsum(begins) - 1
        return cls(user, session, category, rows, ordinal[begins], user[begins], hashes)

    @property
    def sessions(self) -> int:
        """Number S of sessions."""
        return len(self.owner)


def hopping_evidence(
    blocks: Sequence[EventBlock],
    table: VectorTable,
    *,
    kinds: Sequence[str] = ("categories", "vectors"),
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """The evidence as a plain dict, from whole histories of a bounded sample of users.

    ``kinds`` are the representations to compare, each a key of the answer.
    Similarities are ``{"mean", "low", "high", "pairs"}`` with a 95 % interval, or None without pairs:

    - ``within``: a session's odd against its even events (two or more events); ``within_four``: the
      same over sessions of four or more, two events a half at least;
    - ``adjacent``: a user's successive sessions; ``random_users``: sessions of two users;
    - ``shuffled_order``: successive sessions after each user's sessions are put in random order;
    - ``redealt_within``, ``redealt_adjacent``: the same after each user's events are dealt anew,
      in random order, to sessions of the same sizes: what taste alone gives, without sessions;
    - ``matched``: sides of boundaries against windows inside sessions of the same size classes
      (``boundary``, ``inside`` weighted to the boundaries' classes, ``difference``, ``share`` of
      the boundaries whose class has windows enough).

    ``shares`` are plain numbers: adjacent pairs without a common category; those of them whose second
    session goes back to any, and by its most frequent, category of an earlier session; sessions of
    one event. Vectors learned from these very sessions make events of one session look alike (rare
    items most of all): give users that the vectors were not learned from, or say that they were.
    Takes about 5 s and 300 MB for 800 users with 84,000 events; keep samples below some thousand users.
    """
    sample = Sample.of(blocks, table)
    known = {"categories": sample.category >= FIRST_INDEX, "vectors": sample.rows > 0}
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(
        len(sample.hashes), np.full(len(sample.hashes), 1 / len(sample.hashes)), resamples
    ).astype(np.float64)
    place = rng.random(len(sample.user))  # of events, and of sessions, where order is shuffled
    order = rng.random(sample.sessions)
    random_partner = _other_users_session(sample, rng)
    dealt = _deal_anew(sample, place)
    own = np.arange(len(sample.user))
    pair_of = _successive(sample.owner, np.arange(sample.sessions))
    mixed = _successive(sample.owner, np.lexsort((order, sample.owner)))
    found: dict[str, Any] = {
        "users": len(sample.hashes),
        "sessions": sample.sessions,
        "events": len(sample.user),
        "shares": _shares(sample, pair_of),
    }
    for name in kinds:
        similarity = (
            category_similarity(sample.category)
            if name == "categories"
            else vector_similarity(table.vectors, sample.rows)
        )
        compare = _Compare(sample, similarity, weights)
        found[name] = {
            "within": compare.halves(own),
            "within_four": compare.halves(own, at_least=4),
            "adjacent": compare.sessions(own, *pair_of),
            "random_users": compare.sessions(own, *random_partner),
            "shuffled_order": compare.sessions(own, *mixed),
            "redealt_within": compare.halves(dealt),
            "redealt_adjacent": compare.sessions(dealt, *pair_of),
            "matched": _matched(compare, known[name], pair_of),
        }
    return found


@dataclass(frozen=True)
class _Compare:
    """Mean similarity of pairs of bags of one sample, with intervals over its users."""

    sample: Sample
    similarity: Similarity
    weights: NDArray[np.float64]  # (resamples, U) how often each user is drawn

    def halves(self, event: NDArray[np.int64], at_least: int = 2) -> dict[str, Any] | None:
        """Odd against even events of sessions with ``at_least`` events; event (N,) lies at each place."""
        session = self.sample.session
        starts = np.searchsorted(session, np.arange(self.sample.sessions))
        even = (np.arange(len(session)) - starts[session]) % 2
        bag = session + even * self.sample.sessions
        values = self.similarity(event, bag, self.sample.sessions)
        return self.mean(np.where(np.bincount(session) >= at_least, values, np.nan), self.sample.owner)

    def sessions(
        self, event: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> dict[str, Any] | None:
        """Sessions ``left`` (n,) against ``right`` (n,), each with the events that lie at its places."""
        starts = np.searchsorted(self.sample.session, np.arange(self.sample.sessions + 1))
        chosen = np.concatenate([left, right])
        places, bag = _ranges(starts[chosen], np.diff(starts)[chosen])
        return self.mean(self.similarity(event[places], bag, len(left)), self.sample.owner[left])

    def mean(self, values: NDArray[np.float64], user: NDArray[np.int64]) -> dict[str, Any] | None:
        """Mean of values (n,), NaN left out, each belonging to a user."""
        there = ~np.isnan(values)
        if not there.any():
            return None
        users = self.weights.shape[1]
        total = np.bincount(user[there], values[there], users)
        count = np.bincount(user[there], minlength=users)
        return _interval(
            total.sum() / count.sum(), _ratio(self.weights @ total, self.weights @ count), int(there.sum())
        )


def _matched(
    compare: _Compare, known: NDArray[np.bool_], pair_of: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> dict[str, Any] | None:
    """Sides of boundaries against windows of the same size classes inside sessions."""
    sample = compare.sample
    starts = np.searchsorted(sample.session, np.arange(sample.sessions))
    index = np.flatnonzero(known)  # the events that count; sides are places among these
    sides = SessionVectors.of(known.astype(np.int32), starts)
    both = (sides.counts[pair_of[0]] > 0) & (sides.counts[pair_of[1]] > 0)
    left, right = pair_of[0][both], pair_of[1][both]
    size = np.minimum(sides.counts, SIDE)
    ends = sides.starts + sides.counts

    def across_cut(
        cut_left: NDArray[np.int64], m: NDArray[np.int64], cut_right: NDArray[np.int64], n: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Similarity of the m places before one cut and the n from the other on."""
        places, bag = _ranges(np.concatenate([cut_left - m, cut_right]), np.concatenate([m, n]))
        return compare.similarity(index[places], bag, len(m))

    across = across_cut(ends[left], size[left], sides.starts[right], size[right])
    drawn = draw_windows(sides.counts, sample.hashes[sample.owner], sample.ordinal, size_counts(sides.counts))
    cut = sides.starts[drawn.session] + drawn.cut
    inside = across_cut(cut, drawn.sizes[:, 0], cut, drawn.sizes[:, 1])

    users = compare.weights.shape[1]
    across_pair = class_pair(size[left], size[right])
    total, count = _by_class(across, sample.owner[left], across_pair, users)
    inner, inner_count = _by_class(inside, sample.owner[drawn.session], drawn.pair, users)
    usable = (inner_count.sum(1) >= MIN_WINDOWS) & (count.sum(1) > 0)
    if not usable.any():
        return None
    ones = np.concatenate([np.ones((1, users)), compare.weights])  # row 0 is the sample itself
    drawn_count = count[usable] @ ones.T  # (pairs, 1 + resamples)
    boundary = _ratio((total[usable] @ ones.T).sum(0), drawn_count.sum(0))
    mean_inside = _ratio(inner[usable] @ ones.T, inner_count[usable] @ ones.T)
    reweighted = _ratio(np.nansum(mean_inside * drawn_count, axis=0), drawn_count.sum(0))
    pairs, windows = int(count[usable].sum()), int(inner_count[usable].sum())
    return {
        "boundary": _interval(boundary[0], boundary[1:], pairs),
        "inside": _interval(reweighted[0], reweighted[1:], windows),
        "difference": _interval(reweighted[0] - boundary[0], reweighted[1:] - boundary[1:], pairs),
        "share": _rounded(pairs / len(left)),
        "class_pairs": [pair_name(int(code)) for code in np.flatnonzero(usable)],
    }


def _by_class(
    values: NDArray[np.float64], user: NDArray[np.int64], pair: NDArray[np.int64], users: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of values (n,), NaN left out, by class pair and user; (PAIRS, users) each."""
    there = ~np.isnan(values)
    cell = pair[there] * users + user[there]
    total = np.bincount(cell, values[there], PAIRS * users).astype(np.float64)
    count = np.bincount(cell, minlength=PAIRS * users).astype(np.float64)
    return total.reshape(PAIRS, users), count.reshape(PAIRS, users)


def _successive(
    owner: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Neighbours (n,) in an order of sessions that keeps each user's together."""
    left, right = order[:-1], order[1:]
    same = owner[left] == owner[right]
    return left[same], right[same]


def _other_users_session(
    sample: Sample, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each session (n,) with a random session of another user."""
    left = np.arange(sample.sessions)
    sizes = np.bincount(sample.owner, minlength=len(sample.hashes))
    first = np.cumsum(sizes) - sizes
    others = sample.sessions - sizes[sample.owner]
    left = left[others > 0]
    owner = sample.owner[left]
    drawn = rng.integers(0, others[left])
    return left, drawn + np.where(drawn >= first[owner], sizes[owner], 0)  # steps over the user's own


def _deal_anew(sample: Sample, place: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which event (N,) lies at each place once each user's events are put in the order of ``place``."""
    return np.asarray(np.lexsort((place, sample.user)), dtype=np.int64)


def _shares(sample: Sample, pair_of: tuple[NDArray[np.int64], NDArray[np.int64]]) -> dict[str, float | None]:
    """Plain shares: nothing in common, back to something seen, one event."""
    named = sample.category >= FIRST_INDEX
    width = int(sample.category.max(initial=0)) + 1
    places = sample.session[named] * width + sample.category[named]
    key, first, count = np.unique(places, return_index=True, return_counts=True)
    session, category = key // width, key % width
    left, right = pair_of
    before = np.full(sample.sessions, -1)
    before[right] = left
    common = np.isin(before[session] * width + category, key) & (before[session] >= 0)
    order = np.lexsort((session, category, sample.owner[session]))
    again = np.zeros(len(key), dtype=bool)  # the user has looked at the category in an earlier session
    again[order[1:]] = (np.diff(sample.owner[session][order]) == 0) & (np.diff(category[order]) == 0)
    order = np.lexsort((first, -count, session))
    main = order[np.flatnonzero(np.diff(session[order], prepend=-1))]  # its first most frequent category

    def any_of(chosen: NDArray[np.bool_], at: slice | NDArray[np.int64] = slice(None)) -> NDArray[np.bool_]:
        """Sessions (S,) with a chosen category among those ``at`` these keys."""
        return np.bincount(session[at][chosen[at]], minlength=sample.sessions) > 0

    has, shares = any_of(np.ones(len(key), dtype=bool)), any_of(common)
    pairs = right[has[left] & has[right]]
    apart = pairs[~shares[pairs]]
    sizes = np.bincount(sample.session)
    return {
        "adjacent_without_common_category": _share(~shares[pairs]),
        "of_those_back_to_a_seen_category": _share(any_of(again)[apart]),
        "of_those_mainly_back": _share(any_of(again, main)[apart]),
        "sessions_of_one_event": _share(sizes == 1),
    }


def _ranges(begin: NDArray[np.int64], size: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places begin, begin + 1, … of each range, and the number of the range they belong to."""
    number = np.repeat(np.arange(len(begin)), size)
    within = np.arange(len(number)) - np.repeat(np.cumsum(size) - size, size)
    return begin[number] + within, number


def _ratio(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """total / count, NaN where nothing was counted."""
    return np.asarray(np.where(count > 0, total, np.nan) / np.where(count > 0, count, 1.0))


def _interval(mean: float, resampled: NDArray[np.float64], pairs: int) -> dict[str, Any]:
    """Mean with the 2.5 % and 97.5 % points of its resampled values."""
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return {"mean": _rounded(mean), "low": _rounded(low), "high": _rounded(high), "pairs": pairs}


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _share(chosen: NDArray[np.bool_]) -> float | None:
    return _rounded(float(chosen.mean())) if len(chosen) else None
