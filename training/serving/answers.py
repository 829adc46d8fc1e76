"""Answers for people and programs: ids as in the source, one row a user."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from features.codes import FIRST_INDEX
from training.serving.questions import Questions, theme_of
from training.serving.scoring import Scored, Strand, best
from training.vocabulary import TrainVocabulary

Answer = dict[str, Any]
"""One user's answer, by the columns of ``FIELDS``."""

FIELDS = ("user_id", "items", "scores", "theme", "session_open", "strands", "events")

Ranking = tuple[list[str], list[float | None]]


def top_items(scores: Tensor, count: int, vocabulary: TrainVocabulary) -> Ranking:
    """Ids and scores of the best items of ``scores`` (V,)."""
    codes, values = best(scores, count)
    ids = vocabulary.ids["items"]
    return [str(ids[code]) for code in codes.tolist()], list(values.tolist())


def of_candidates(scores: Mapping[int, float], codes: Sequence[int], names: Sequence[str]) -> Ranking:
    """The candidates as given, with their scores; None for an item that the model does not know."""
    values = [scores[code] if code >= FIRST_INDEX else None for code in codes]
    return list(names), values


def answers(
    asked: Questions, scored: Scored, rankings: Sequence[Ranking], vocabulary: TrainVocabulary
) -> list[Answer]:
    """An answer for each question but for whose it is; ``events`` says how many the model read."""
    told = [_told(strand, asked, vocabulary) for strand in scored.strands]
    themes, read = theme_of(asked), asked.samples.end.tolist()
    return [
        {
            "items": items,
            "scores": values,
            "theme": themes[at],
            "session_open": bool(asked.is_open[at]),
            "strands": [strand[at] for strand in told if strand[at] is not None],
            "events": {"read": read[at]},
        }
        for at, (items, values) in enumerate(rankings)
    ]


def frame_of(found: Sequence[Answer]) -> pd.DataFrame:
    """One row a user."""
    columns = {name: pd.Series([answer[name] for answer in found], dtype=object) for name in FIELDS}
    return pd.DataFrame(columns)


def _told(strand: Strand, asked: Questions, vocabulary: TrainVocabulary) -> list[Answer | None]:
    """The strand of each question: family, key, weight, and its items that have a name, newest first."""
    row = asked.samples.row[:, None]
    codes = (asked.rows.item[row, strand.places.clamp(min=0).long()] * (strand.places >= 0)).flip(1).tolist()
    ids, keys, there = vocabulary.ids["items"], strand.key.tolist(), strand.present.tolist()
    weights = [None] * len(keys) if strand.weight is None else strand.weight.tolist()
    return [
        {
            "family": strand.family,
            "key": _key(strand.family, keys[at], vocabulary),
            "weight": weights[at],
            "items": [str(ids[code]) for code in codes[at] if code >= FIRST_INDEX],
        }
        if there[at]
        else None
        for at in range(len(keys))
    ]


def _key(family: str, code: int, vocabulary: TrainVocabulary) -> str | None:
    """What a code names: the pipeline's theme, the source's category, or a number of the model's own."""
    if family == "theme":
        return str(vocabulary.themes[code - FIRST_INDEX])
    if family == "category":
        return vocabulary.ids["categories"][code]
    return str(code - FIRST_INDEX) if family == "code" else None
