"""Evaluate a model as a ranker of drawn candidates: sampled-negative AUC and what goes with it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from features.codes import FIRST_INDEX
from training.batch import Batch
from training.evaluate.candidates import Kind, Negatives
from training.evaluate.queries import pieces, without_answers
from training.evaluate.ranking import (
    Calibration,
    Flags,
    Floats,
    Ints,
    auc,
    calibrate,
    gauc,
    group_auc,
    log_loss,
    normalised_entropy,
)
from training.evaluate.run import Progress, Summary, answering, on_device, target_columns
from training.evaluate.sessions import SessionFacts
from training.evaluate.slices import SLICES, slice_columns
from training.model import Model

CHANNELS = 64
"""Numbers that an event counts for with each candidate when batches are cut (our choice).

Target attention holds about (1 + C) · L · d numbers a sample, which its scores alone do not tell.
"""


@dataclass(frozen=True)
class Scored:
    """N targets with their scored candidates.

    ``frame`` is as in ``Evaluation``, with ``auc`` (the share of its negatives that a target beats, ties
    half; NaN without negatives) in place of the rank. ``left_out`` counts targets that are no trained
    items: they have no score.
    """

    frame: pd.DataFrame
    scores: Floats  # (N, 1 + C), column 0 the target
    real: Flags  # (N, 1 + C) False where there were no negatives to draw
    negatives: Kind
    left_out: int
    seconds: float

    def calibration(self) -> Calibration:
        """Log-odds from these scores; fit it on validation targets, use it on test ones."""
        score, label, _ = self._flat(np.ones(len(self.frame), dtype=bool))
        return calibrate(score, label)

    def summary(self, calibration: Calibration | None = None) -> Summary:
        """AUC and GAUC of every slice; with a calibration also log loss and normalised entropy.

        Names carry the negatives: ``auc_uniform``, ``gauc_uniform``, …
        """
        summary: Summary = {}
        for name, mask in SLICES.items():
            chosen = mask(self.frame)
            if not chosen.any():
                continue
            score, label, user = self._flat(chosen)
            values = {"auc": auc(score, label), "gauc": gauc(score, label, user)}
            if calibration is not None:
                logit = calibration.logit(score)
                values["log_loss"] = log_loss(logit, label)
                values["normalised_entropy"] = normalised_entropy(logit, label)
            summary[name] = {"targets": float(chosen.sum())}
            summary[name] |= {f"{metric}_{self.negatives}": value for metric, value in values.items()}
        return summary

    def _flat(self, chosen: Flags) -> tuple[Floats, Flags, Ints]:
        """Score, label and user of the candidates of the chosen targets."""
        real = self.real[chosen]
        label = np.zeros(real.shape, dtype=bool)
        label[:, 0] = True
        user = np.broadcast_to(self.frame["user"].to_numpy()[chosen][:, None], real.shape)
        return self.scores[chosen][real], label[real], user[real]


def score_candidates(
    model: Model,
    batches: Iterable[Batch],
    device: torch.device | str,
    negatives: Negatives,
    slices: SessionFacts | None = None,
    *,
    progress: Progress | None = None,
) -> Scored:
    """Score every target of the batches that is a trained item among its drawn negatives.

    Keeps N · (1 + C) scores in memory. ValueError where there are no such targets.
    """
    frames, scores, real = [], [], []
    left_out, start = 0, time.perf_counter()
    with answering(model):
        for batch in batches:
            rows, samples = on_device(batch, device)
            known = samples.item >= FIRST_INDEX
            left_out += int((~known).sum())
            if not bool(known.any()):
                continue
            samples = negatives.candidates(rows, samples.map(lambda tensor, keep=known: tensor[keep]))  # type: ignore[misc]
            width = (1 + negatives.drawn) * rows.item.shape[1] * CHANNELS
            for part, some in pieces(rows, without_answers(samples), width):
                scores.append(model.score_candidates(part, some).double().cpu().numpy())
                assert some.cand_item is not None
                real.append(some.cand_item.cpu().numpy() > 0)
            facts = slices or SessionFacts.from_batches([batch])
            frames.append(
                pd.concat([target_columns(rows, samples), slice_columns(rows, samples, facts)], axis=1)
            )
            if progress is not None:
                progress(sum(map(len, frames)), time.perf_counter() - start)
    if not frames:
        raise ValueError("the batches hold no target that is a trained item")
    frame, score, there = pd.concat(frames, ignore_index=True), np.concatenate(scores), np.concatenate(real)
    target = np.repeat(np.arange(len(frame)), there.sum(1))
    label = (np.arange(score.shape[1]) == 0) & there
    frame["auc"] = group_auc(score[there], label[there], target).auc
    return Scored(frame, score, there, negatives.kind, left_out, time.perf_counter() - start)
