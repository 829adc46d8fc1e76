"""What validation and the test measure, by ``training.evaluate``: the catalogue's ranking, or candidates."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import pandas as pd
import torch
from torch import nn

from features.section import Section
from training.batch import Batch
from training.errors import ConfigError
from training.evaluate.candidates import Negatives
from training.evaluate.ranks import CUTOFFS, MEASURES
from training.evaluate.run import Summary, evaluate
from training.evaluate.run_candidates import score_candidates
from training.evaluate.sessions import SessionFacts
from training.evaluate.slices import PRIMARY, SLICES
from training.fit.config import Config
from training.fit.loop import Validate, Watch
from training.fit.models import is_click
from training.model import as_model
from training.vocabulary import TrainVocabulary

SLICE_FIGURES: Final = ("targets", "hr_10", "ndcg_10", "gauc")
"""What is kept of each slice of targets in the metrics of a run; names go on with the negatives' kind."""


class Measured(NamedTuple):
    """Results per target, slice -> figure -> value, and how many seconds the scoring took."""

    frame: pd.DataFrame
    summary: Summary
    seconds: float


def validator(
    batches: Sequence[Batch],
    device: torch.device,
    facts: SessionFacts,
    negatives: Negatives | None = None,
) -> Validate:
    """Figures of all targets by their names, and a few of each slice as ``slice/name``.

    With ``negatives``, of candidates; without, of the whole catalogue's ranking.
    """

    def validate(model: nn.Module, watch: Watch) -> dict[str, float]:
        return flat(measure(model, batches, device, facts, negatives, watch=watch).summary)

    return validate


def measure(  # what the two ways of measuring need
    model: nn.Module,
    batches: Sequence[Batch],
    device: torch.device,
    facts: SessionFacts,
    negatives: Negatives | None,
    *,
    watch: Watch,
    calibrate_on: Sequence[Batch] = (),
) -> Measured:
    """What a model reaches on the batches, in float32 whatever the precision of training.

    Log loss and normalised entropy of candidates need a calibration, which is fitted on other targets.
    """
    asked = as_model(model)
    if negatives is None:
        ranked = evaluate(asked, watch(batches), device, facts)
        return Measured(ranked.frame, ranked.summary, ranked.seconds)
    calibration = None
    if calibrate_on:
        calibration = score_candidates(asked, watch(calibrate_on), device, negatives, facts).calibration()
    scored = score_candidates(asked, watch(batches), device, negatives, facts)
    return Measured(scored.frame, scored.summary(calibration), scored.seconds)


def metrics_of(model: Section, negatives: str) -> list[str]:
    """What is measured of all targets whatever the data, and can therefore decide or be compared."""
    if is_click(model):
        return [f"auc_{negatives}", f"gauc_{negatives}"]
    return [*(f"{kind}_{k}" for kind in MEASURES for k in CUTOFFS), "basket_recall_10", "basket_ndcg_10"]


def require_metric(config: Config) -> None:
    """ConfigError where ``validation.metric`` names nothing that a validation measures."""
    known = metrics_of(config.model, config.data.candidates.negatives)
    name, slashed, figure = config.metric.rpartition("/")
    sliced = name in SLICES and figure in known and figure.startswith(SLICE_FIGURES)
    if figure not in known or (slashed and not sliced):
        of_slices = f"{PRIMARY}/{next(name for name in known if name.startswith(SLICE_FIGURES))}"
        raise ConfigError(
            f"validation.metric = {config.metric!r} is not measured of {config.model.name}; one of "
            f"{', '.join(known)}, or of a slice, such as {of_slices}"
        )


def negatives_for(config: Config, vocabulary: TrainVocabulary) -> Negatives | None:
    """The drawn candidates that a click model is measured by; None for the others."""
    if not is_click(config.model):
        return None
    asked = config.data.candidates
    count, category = torch.tensor(vocabulary.items.count), torch.tensor(vocabulary.item_category)
    return Negatives(asked.negatives, count, category, asked.measured)


def flat(summary: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """All figures of all targets, and ``SLICE_FIGURES`` of the slices."""
    sliced = {
        f"{name}/{figure}": value
        for name, figures in summary.items()
        if name != "all"
        for figure, value in figures.items()
        if figure.startswith(SLICE_FIGURES)
    }
    return dict(summary["all"]) | sliced
