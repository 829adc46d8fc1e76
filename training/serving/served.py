"""A fitted model that answers for raw events, or for rows of ``gold/user_sequences``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import nn

from features.embeddings import USER_VECTORS
from features.tags import Themes
from training.errors import RequestError
from training.fit.config import Config
from training.fit.models import is_click
from training.model import Searchable
from training.serving.answers import Answer, Ranking, answers, frame_of, of_candidates, top_items
from training.serving.embeddings import item_table, searchable, user_table
from training.serving.history import Counts, Histories, histories
from training.serving.questions import Asking, Questions
from training.serving.request import Asked, from_records, read_request, read_unit
from training.serving.scoring import Scored, candidate_scores, scored
from training.serving.source import Names, SourceRules, codes_of
from training.vocabulary import TrainVocabulary
from training.windows import window_rule

Candidates = Mapping[int, Sequence[str]]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(instant: datetime) -> int:
    """µs since 1970 of a time with a zone."""
    return (instant - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Served:
    """A model with all that its answers depend on; in evaluation mode, on the CPU."""

    model: nn.Module
    config: Config
    vocabulary: TrainVocabulary
    source: SourceRules
    names: Names
    themes: Themes
    lineage: Mapping[str, Any]

    @cached_property
    def asking(self) -> Asking:
        """How rows become questions."""
        return Asking(self.vocabulary, window_rule(self.config.data.max_length), self.source)

    def recommend(
        self,
        events: pd.DataFrame | list[dict[str, Any]],
        *,
        top_k: int = 10,
        as_of: datetime | str | float | None = None,
        ts_unit: str = "",
    ) -> pd.DataFrame:
        """The next items of every user of a request, one row each in the order in which they first appear.

        ``events`` are those of ``training.serving.request``, in any order; what happened at or after
        ``as_of`` (default: now) is left out. Numbers in ``ts`` and ``as_of`` are in ``ts_unit`` (s, ms, us),
        or in the source's. ``items`` are the ``top_k`` best by ``scores``, or the user's candidates as given.
        A user without history gets what the model says to a newcomer. RequestError where the request is at
        fault.
        """
        asked, found = self.read(events, top_k=top_k, as_of=as_of, ts_unit=ts_unit)
        return self._frame(
            found.rows,
            asked.user_ids,
            asked.as_of,
            top_k=asked.top_k,
            candidates=asked.candidates,
            counts=found.counts,
        )

    def read(
        self,
        events: pd.DataFrame | list[dict[str, Any]],
        *,
        top_k: int = 10,
        as_of: datetime | str | float | None = None,
        ts_unit: str = "",
    ) -> tuple[Asked, Histories]:
        """What ``recommend`` makes of its request: who asks, and rows of ``gold/user_sequences``."""
        asked = read_request(
            from_records(events) if isinstance(events, list) else events,
            top_k=top_k,
            as_of=datetime.now(UTC) if as_of is None else as_of,
            unit=read_unit(ts_unit, self.source.ts_unit),
            keyed=self.source.sessions.kind == "source_key",
        )
        return asked, histories(asked, self.source, self.names, self.themes)

    def recommend_rows(self, rows: pa.Table, *, as_of: datetime, top_k: int = 10) -> pd.DataFrame:
        """The same for rows of ``gold/user_sequences``, each user's last one (``ROW_COLUMNS`` suffice).

        They answer as their users' raw events would, as far as these are in the table. DataError where a
        user has several, or an event at or after ``as_of``.
        """
        users = rows.column("user_id").to_pylist()
        return self._frame(rows, users, microseconds(as_of), top_k=top_k, candidates={}, counts={})

    @property
    def searchable(self) -> bool:
        """Whether the model has vectors of users and items, which the two methods below need."""
        return searchable(self.model) is not None

    @torch.inference_mode()
    def item_vectors(self) -> pa.Table:
        """``features.embeddings.ITEM_VECTORS`` of all items that the model knows."""
        return item_table(self._searched().item_vectors(), self.vocabulary)

    @torch.inference_mode()
    def user_vectors(self, rows: pa.Table, *, as_of: datetime) -> pa.Table:
        """``features.embeddings.USER_VECTORS`` of the users of rows as in ``recommend_rows``, in no order.

        By them, items rank and weigh as in the answers of ``recommend_rows``.
        """
        model, users = self._searched(), rows.column("user_id").to_pylist()
        parts = [
            user_table(
                [users[at] for at in asked.user.tolist()],
                model.retrieval_vectors(asked.rows, asked.samples),
                self.vocabulary,
            )
            for asked in self.asking.questions(rows, users, microseconds(as_of))
        ]
        return pa.concat_tables([USER_VECTORS.empty_table(), *parts])

    def _searched(self) -> Searchable:
        found = searchable(self.model)
        if found is None:
            raise RequestError(
                f"{self.config.model.name} has no vectors of users and items; ask it by recommend"
            )
        return found

    def _frame(
        self,
        rows: pa.Table,
        user_ids: list[str],
        as_of: int,
        *,
        top_k: int,
        candidates: Candidates,
        counts: Counts,
    ) -> pd.DataFrame:
        found: list[Answer] = [{} for _ in user_ids]
        for asked in self.asking.questions(rows, user_ids, as_of):
            answered = self._answers(asked, candidates, top_k)
            for user, answer in zip(asked.user.tolist(), answered, strict=True):
                events = {reason: int(number[user]) for reason, number in counts.items()}
                found[user] = answer | {"user_id": user_ids[user], "events": events | answer["events"]}
        return frame_of(found)

    @torch.inference_mode()
    def _answers(self, asked: Questions, candidates: Candidates, top_k: int) -> list[Answer]:
        named = [candidates.get(user, ()) for user in asked.user.tolist()]
        if is_click(self.config.model):
            ranked, told = self._ranked(asked, named)
        else:
            told = scored(self.model, asked.rows, asked.samples)
            ranked = [
                self._candidates(scores, ids) if ids else top_items(scores, top_k, self.vocabulary)
                for scores, ids in zip(told.scores, named, strict=True)
            ]
        return answers(asked, told, ranked, self.vocabulary)

    def _candidates(self, scores: torch.Tensor, ids: Sequence[str]) -> Ranking:
        codes = self._codes(ids)
        return of_candidates(dict(zip(codes, scores[codes].tolist(), strict=True)), codes, ids)

    def _ranked(self, asked: Questions, named: Sequence[Sequence[str]]) -> tuple[list[Ranking], Scored]:
        if not all(named):
            raise RequestError(
                f"{self.config.model.name} ranks given candidates, and a user has none; add rows with "
                "user_id and candidate_id for every user"
            )
        codes = [self._codes(ids) for ids in named]
        category = torch.from_numpy(self.vocabulary.item_category)
        scores, told = candidate_scores(self.model, asked.rows, asked.samples, codes, category)
        each = zip(scores, codes, named, strict=True)
        return [
            of_candidates(dict(zip(own, values, strict=True)), own, ids) for values, own, ids in each
        ], told

    def _codes(self, ids: Sequence[str]) -> list[int]:
        """The model's codes of the source's ids, 1 for those that it does not know."""
        index = codes_of(pa.array(ids, pa.string()), self.names.items)
        codes: list[int] = self.vocabulary.encode("item", np.asarray(index)).tolist()
        return codes
