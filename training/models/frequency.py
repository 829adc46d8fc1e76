"""Personal frequency: what this user did before, all of it or decayed by age, backed off to popularity."""

from collections.abc import Iterable
from typing import NamedTuple, Self

import torch
from torch import Tensor

from features.codes import FIRST_INDEX
from training.batch import Batch, Rows, Samples
from training.models.counting import CountModel, Entries, FittedBuffers, SparseCounts, candidates_of
from training.models.popularity import Popularity


class _Events(NamedTuple):
    """M events of users."""

    user: Tensor
    item: Tensor
    ts: Tensor


class Frequency(CountModel, FittedBuffers):
    """P(next = i | user) = (w_i + a p_i) / (Σ w + a): w_i the user's events with item i, p the popularity.

    With ``half_life`` (seconds) an event counts 2^(-age / half_life), age measured at the target. A row
    holds only part of a long history, so the fit remembers every user's training events: a target
    after the last training target counts those and the visible events since; an earlier target, and a
    user whom the fit did not meet, counts the visible events of the row alone. So nothing at or after a
    target counts. ``back_off`` is a, in events. Our choice.
    """

    fitted = ("user",)
    user: Tensor  # (U,) int64 remembered users, ascending
    until: Tensor  # () int64 unix seconds of the last training target

    def __init__(self, items: int, half_life: float | None = None, back_off: float = 1.0) -> None:
        super().__init__(items)
        if half_life is not None and half_life <= 0:
            raise ValueError(f"half_life = {half_life} s must be positive")
        self.half_life, self.back_off = half_life, back_off
        self.popularity = Popularity(items)
        self.memory = SparseCounts(items)
        self.register_buffer("user", torch.empty(0, dtype=torch.int64))
        self.register_buffer("until", torch.tensor(torch.iinfo(torch.int64).max))

    def fit(self, batches: Iterable[Batch]) -> Self:
        """Remember the training targets of one epoch, and the events before each user's first target.

        Takes memory for every event until all are counted.
        """
        targets: list[_Events] = []
        openings: list[_Events] = []
        origins: list[Tensor] = []  # of each event in openings, the number of its row
        met = 0

        def remembered() -> Iterable[Batch]:
            nonlocal met
            for batch in batches:
                rows = batch.rows.to("cpu")
                opening = _opening(rows)
                targets.append(_at(rows, rows.loss_mask))
                openings.append(_at(rows, opening))
                origins.append(opening.nonzero()[:, 0] + met)
                met += len(rows.length)
                yield batch

        self.popularity.fit(remembered())
        if not targets:
            raise ValueError("the batches hold no training target")
        first = _of_first_rows(_joined(openings), torch.cat(origins))
        known = _Events(*(part.to(self.until.device) for part in _joined([*targets, first])))
        self.until = known.ts.max()
        self.user, index = torch.unique(known.user, return_inverse=True)
        trained = known.item >= FIRST_INDEX
        weight = self._decay(self.until - known.ts)
        self.memory.replace(index[trained], known.item[trained], weight[trained])
        return self

    def score_catalogue(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, V) float32 log-probabilities."""
        share = (self.back_off * self.popularity.log_share.exp()).repeat(len(samples.row), 1)
        asked, column, value = self._events(rows, samples)
        share.index_put_((asked, column), value.float(), accumulate=True)
        return share.log_() - self._log_total(asked, value, len(share))

    def score_candidates(self, rows: Rows, samples: Samples) -> Tensor:
        """(N, 1 + C) float32 log-probabilities of the samples' candidates."""
        item = candidates_of(samples)
        asked, column, value = self._events(rows, samples)
        weights = SparseCounts(self.items).replace(asked, column, value)
        share = self.back_off * self.popularity.log_share.exp()[item]
        share = share + weights.at(torch.arange(len(item), device=item.device), item).float()
        return share.log_() - self._log_total(asked, value, len(item))

    def _events(self, rows: Rows, samples: Samples) -> Entries:
        """Weights of all events that count for each sample; an item may have several entries."""
        parts = zip(self._remembered(rows, samples), self._visible(rows, samples), strict=True)
        return Entries(*(torch.cat(part) for part in parts))

    def _log_total(self, asked: Tensor, value: Tensor, samples: int) -> Tensor:
        """(N, 1) float32 log of the weight of each sample's events, the back-off's included."""
        total = torch.full((samples,), self.back_off, dtype=torch.float64, device=value.device)
        return total.index_add_(0, asked, value).log()[:, None].float()

    def _remembered(self, rows: Rows, samples: Samples) -> Entries:
        """What the fit knows of the samples' users, as of the samples' times."""
        place, use = self._memory_of(rows, samples)
        found = self.memory.rows(place[use])
        asked = use.nonzero()[:, 0][found.asked]
        age = self._decay(samples.query_ts[asked] - self.until)
        return Entries(asked, found.column, found.value * age)

    def _visible(self, rows: Rows, samples: Samples) -> Entries:
        """Visible events of the samples' rows that the memory, where it is used, does not hold."""
        _, use = self._memory_of(rows, samples)
        item, ts = rows.item[samples.row], rows.ts[samples.row]  # (N, L)
        places = torch.arange(item.shape[1], device=item.device)
        seen = (places < samples.end[:, None]) & (item >= FIRST_INDEX)
        seen &= ~use[:, None] | (ts > self.until)
        asked, place = seen.nonzero(as_tuple=True)
        age = samples.query_ts[asked] - ts[asked, place]
        return Entries(asked, item[asked, place].long(), self._decay(age))

    def _memory_of(self, rows: Rows, samples: Samples) -> tuple[Tensor, Tensor]:
        """(N,) place of each sample's user in the memory, and whether the memory may be used."""
        user = rows.user_id[samples.row]
        if len(self.user) == 0:
            return torch.zeros_like(user), torch.zeros_like(user, dtype=torch.bool)
        place = torch.searchsorted(self.user, user).clamp(max=len(self.user) - 1)
        return place, (self.user[place] == user) & (samples.query_ts > self.until)

    def _decay(self, age: Tensor) -> Tensor:
        """Weight (float64) of events by their age in seconds."""
        if self.half_life is None:
            return torch.ones(age.shape, dtype=torch.float64, device=age.device)
        return torch.exp2(-age.double() / self.half_life)


def _at(rows: Rows, mask: Tensor) -> _Events:
    """The events at the places of a mask (B, L)."""
    user = rows.user_id[:, None].expand_as(rows.item)
    return _Events(user[mask], rows.item[mask].long(), rows.ts[mask])


def _opening(rows: Rows) -> Tensor:
    """(B, L) bool: events before a user's first target, which are no targets themselves.

    They share the user's first time; the row is the one whose first target sees nothing else.
    """
    places = torch.arange(rows.item.shape[1])
    first = rows.loss_mask.int().argmax(1)  # (B,) place of the first target
    end = rows.read_at.gather(1, first[:, None]) + 1  # (B, 1)
    opening = places[None] < end
    alone = ((rows.ts == rows.ts[:, :1]) | ~opening).all(1) & (rows.session[:, 0] == 1)
    return opening & (alone & rows.loss_mask.any(1))[:, None]


def _joined(parts: list[_Events]) -> _Events:
    return _Events(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _of_first_rows(found: _Events, origin: Tensor) -> _Events:
    """Of each user the events of one row: a long run of equal times cuts his first targets over several."""
    users, index = torch.unique(found.user, return_inverse=True)
    first = torch.full((len(users),), torch.iinfo(torch.int64).max).scatter_reduce_(0, index, origin, "amin")
    kept = origin == first[index]
    return _Events(*(part[kept] for part in found))
