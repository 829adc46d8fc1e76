"""Evaluate any model of the protocol: full ranking of the catalogue, per target, sliced, summed up."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from training.batch import Batch, Rows, Samples, all_targets
from training.evaluate.baskets import basket_metrics, has_baskets
from training.evaluate.queries import SCORES_AT_ONCE, distinct, pieces, without_answers
from training.evaluate.ranks import Catalogue, Coverage, mean_ranks, rank_metrics
from training.evaluate.sessions import SessionFacts
from training.evaluate.slices import SLICES, slice_columns
from training.model import Model

Progress = Callable[[int, float], None]
"""Called after each batch with the targets done and the seconds since the start."""

Summary = dict[str, dict[str, float]]
"""Slice -> metric -> value."""


@dataclass(frozen=True)
class Evaluation:
    """Results per target, and their summary by slice.

    ``frame`` has user, row, place, ts (seconds), item, ``in_catalogue``, ``rank`` (float, infinite for a
    miss) and the columns of ``slice_columns``, one row per target in the order of the batches. In the
    summary, ``coverage_ceiling`` is the share of targets in the catalogue, the most that HR can
    reach, and ``coverage_k`` the share of trained items in anyone's first k.
    """

    frame: pd.DataFrame
    summary: Summary
    seconds: float


def evaluate(
    model: Model,
    batches: Iterable[Batch],
    device: torch.device | str,
    slices: SessionFacts | None = None,
    *,
    catalogue: Catalogue | None = None,
    progress: Progress | None = None,
    scores_at_once: int = SCORES_AT_ONCE,
) -> Evaluation:
    """Rank every target of the batches (``samples``, or all targets of the rows) in the whole catalogue.

    ``slices`` are facts about sessions; None takes each batch's own rows for them, which a model on
    windows of long histories should not. ``catalogue`` None: every trained item is a candidate. The
    model gets each distinct question once and without its answer. ValueError where there are no
    targets, a session has no facts, or a score is not a number.
    """
    frames: list[pd.DataFrame] = []
    coverage: Coverage | None = None
    done, start = 0, time.perf_counter()
    with answering(model):
        for batch in batches:
            rows, samples = on_device(batch, device)
            if len(samples.row) == 0:
                continue
            ranks = torch.full((len(samples.row),), torch.inf, dtype=torch.float64, device=samples.row.device)
            asked = distinct(samples)
            at = 0
            if catalogue is None:
                catalogue = Catalogue(_items(model, rows, asked.samples))
            if coverage is None:
                coverage = Coverage(catalogue.items, rows.item.device)
            for few, some in pieces(rows, without_answers(asked.samples), catalogue.items, scores_at_once):
                scores = model.score_catalogue(few, some)
                part = slice(at, at + len(scores))
                candidates = catalogue.at(asked.samples.query_ts[part])
                coverage.add(scores, candidates)
                own = (asked.query >= part.start) & (asked.query < part.stop)
                own &= catalogue.holds(samples.item, samples.query_ts)
                ranks[own] = mean_ranks(scores, samples.item[own], asked.query[own] - at, candidates)
                at = part.stop
            frame = target_columns(rows, samples)
            frame["in_catalogue"] = np.isfinite(ranks.cpu().numpy())
            frame["rank"] = ranks.cpu().numpy()
            facts = slices or SessionFacts.from_batches([batch])
            frames.append(pd.concat([frame, slice_columns(rows, samples, facts)], axis=1))
            done += len(frame)
            if progress is not None:
                progress(done, time.perf_counter() - start)
    if coverage is None:
        raise ValueError("the batches hold no target; check the split's times")
    whole = pd.concat(frames, ignore_index=True)
    summary = summarise(whole)
    summary["all"] |= {f"coverage_{k}": share for k, share in coverage.shares().items()}
    return Evaluation(whole, summary, time.perf_counter() - start)


def summarise(frame: pd.DataFrame) -> Summary:
    """Metrics of every slice that holds a target; baskets where targets share a (user, ts)."""
    summary: Summary = {}
    for name, mask in SLICES.items():
        part = frame[mask(frame)]
        if len(part) == 0:
            continue
        summary[name] = {
            "targets": float(len(part)),
            "users": float(part["user"].nunique()),
            "coverage_ceiling": float(part["in_catalogue"].mean()),
            **rank_metrics(part["rank"].to_numpy()),
        }
        if has_baskets(part):
            summary[name] |= basket_metrics(part)
    return summary


def target_columns(rows: Rows, samples: Samples) -> pd.DataFrame:
    """What names each of N targets."""
    columns = {
        "user": rows.user_id[samples.row],
        "row": rows.row_id[samples.row],
        "place": samples.place,
        "ts": samples.query_ts,
        "item": samples.item,
    }
    return pd.DataFrame({name: values.cpu().numpy() for name, values in columns.items()})


def on_device(batch: Batch, device: torch.device | str) -> tuple[Rows, Samples]:
    """The batch's rows and samples, on the device."""
    rows = batch.rows.to(device)
    return rows, all_targets(rows) if batch.samples is None else batch.samples.to(device)


@contextmanager
def answering(model: Model) -> Iterator[None]:
    """The model in evaluation mode, without gradients; training goes on as before afterwards."""
    module = model if isinstance(model, nn.Module) else None
    was_training = module is not None and module.training
    if module is not None:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if module is not None:
            module.train(was_training)


def _items(model: Model, rows: Rows, samples: Samples) -> int:
    """V, as the scores of one sample tell it."""
    ((few, one),) = pieces(rows, without_answers(samples.map(lambda tensor: tensor[:1])), 1)
    return model.score_catalogue(few, one).shape[1]
