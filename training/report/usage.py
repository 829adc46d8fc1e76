"""What answers rest on: how much weight each expert, theme or category carries, over a sample of targets.

MoS has a gate over its experts, ULIM a share for each category it searches: their weights add up to 1 in
every answer. CMSL's strands have no weights; what one is worth is what the model loses without it: the fall
of the log-probability of what came next when that strand is silenced in all blocks (our choice).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from features.codes import FIRST_INDEX
from training.evaluate.run import answering
from training.evaluate.slices import SLICES
from training.model import as_model
from training.models.cmsl.retrieval import Cmsl
from training.models.moe import Balanced
from training.models.mos import MoS
from training.models.mos.ranking import MoSRanker
from training.models.ulim.model import Ulim
from training.report.asked import Asked, Piece, pick, sample
from training.serving.scoring import Strand, scored

SAMPLE: Final = 1_000
"""Targets that are asked about (our choice): half a minute of a slow machine."""

SILENCED: Final = 400
"""The same where every strand costs one more pass."""

ORDINALS: Final = ("newest", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


@dataclass(frozen=True)
class Usage:
    """Weights of P parts of a model's answers over N targets."""

    model: str
    parts: Sequence[str]
    weight: NDArray[np.float64]  # (N, P): shares of the answer, or nats lost without the part
    columns: pd.DataFrame  # N rows, facts for slices
    are_shares: bool
    keys: Mapping[tuple[str, int], float]  # (family, code) -> mean share of the answer

    def mean(self, part: str = "all") -> NDArray[np.float64] | None:
        """(P,) over the targets of a slice; None where it has none."""
        inside = SLICES[part](self.columns)
        return self.weight[inside].mean(axis=0) if inside.any() else None

    def targets(self, part: str = "all") -> int:
        """How many of the sample lie in a slice."""
        return int(SLICES[part](self.columns).sum())


def usage(asked: Asked) -> Usage | None:
    """Of a model with several strands; None of one with a single sequence."""
    model = asked.model.model if isinstance(asked.model, Balanced) else asked.model
    with answering(as_model(asked.model)):
        if isinstance(model, MoS | Ulim):
            return _of_strands(asked, model)
        if isinstance(model, MoSRanker):
            return _of_candidates(asked, model)
        if isinstance(model, Cmsl) and _strands(model) > 1:
            return _of_silence(asked, model)
    return None


def part_name(strand: Strand, at: int, window: int | None) -> str:
    """What people call a strand: its kind and how new it is among its kind."""
    if strand.family == "recent":
        return "whole history"
    if strand.family == "window":
        return f"last {window} events"
    kind = "category" if strand.family == "category" else "theme"
    rank = ORDINALS[at] if at < len(ORDINALS) else f"{at + 1}th"
    return f"{rank} {kind}" if kind == "theme" else f"{'likeliest' if at == 0 else rank + ' likely'} category"


def names_of(strands: Sequence[Strand], window: int | None) -> list[str]:
    """The parts of an answer, in the order of its strands."""
    seen: dict[str, int] = defaultdict(int)
    names = []
    for strand in strands:
        names.append(part_name(strand, seen[strand.family], window))
        seen[strand.family] += 1
    return names


def _of_strands(asked: Asked, model: MoS | Ulim) -> Usage:
    window = model.experts.window if isinstance(model, MoS) else None
    weights, columns, names = [], [], []
    keys: dict[tuple[str, int], float] = defaultdict(float)
    for piece in pick(asked, sample(asked, SAMPLE)):
        strands = scored(model, piece.rows, piece.questions).strands
        names = names_of(strands, window)
        own = torch.stack([_weight(strand) for strand in strands], dim=1)
        rest = (1 - own.sum(dim=1, keepdim=True)).clamp(min=0)
        weights.append(torch.cat([own, rest], dim=1).double().numpy())
        columns.append(piece.columns)
        for strand in strands:
            _add_keys(keys, strand.family, strand.key, _weight(strand))
    weight, facts = np.concatenate(weights), pd.concat(columns, ignore_index=True)
    names.append("further categories")
    if isinstance(model, MoS):  # the gate's weights add up to 1: nothing is left over
        names, weight = names[:-1], weight[:, :-1]
    return Usage(
        asked.label, names, weight, facts, True, {key: total / len(weight) for key, total in keys.items()}
    )


def _weight(strand: Strand) -> Tensor:
    assert strand.weight is not None
    return torch.where(strand.present, strand.weight, 0.0)


def _add_keys(keys: dict[tuple[str, int], float], family: str, key: Tensor, weight: Tensor) -> None:
    for code, share in zip(key.tolist(), weight.tolist(), strict=True):
        if code >= FIRST_INDEX and share > 0:
            keys[family, code] += share


def _of_candidates(asked: Asked, model: MoSRanker) -> Usage:
    """The gate's weights for the candidate that the user took."""
    weights, columns = [], []
    keys: dict[tuple[str, int], float] = defaultdict(float)
    family = "theme" if model.router.stage == 0 else "code"
    for piece in pick(asked, sample(asked, SAMPLE)):
        share, key = model.shares(piece.rows, piece.questions, piece.targets.item[:, None])
        own = share[:, 0]  # (N, E)
        weights.append(own.double().numpy())
        columns.append(piece.columns)
        for at in range(key.shape[1]):
            _add_keys(keys, family, key[:, at], own[:, own.shape[1] - key.shape[1] + at])
    weight = np.concatenate(weights)
    themes = [f"{ORDINALS[at] if at < len(ORDINALS) else at + 1} theme" for at in range(weight.shape[1] - 2)]
    names = [f"last {model.length} events", f"last {model.window} events", *themes]
    facts = pd.concat(columns, ignore_index=True)
    return Usage(
        asked.label, names, weight, facts, True, {key: total / len(weight) for key, total in keys.items()}
    )


def _of_silence(asked: Asked, model: Cmsl) -> Usage:
    """Nats that the target's log-probability falls by without each strand; unknown targets are left out."""
    lost, columns = [], []
    for piece in pick(asked, sample(asked, SILENCED)):
        known = (piece.targets.item >= FIRST_INDEX).numpy()
        if not known.any():
            continue
        whole = _log_probability(model, piece)
        each = []
        for strand in range(_strands(model)):
            with silenced(model, strand):
                each.append(whole - _log_probability(model, piece))
        lost.append(np.stack(each, axis=1)[known])
        columns.append(piece.columns[known])
    names = [f"strand {at + 1}" for at in range(_strands(model))]
    return Usage(asked.label, names, np.concatenate(lost), pd.concat(columns, ignore_index=True), False, {})


def _strands(model: Cmsl) -> int:
    block: Any = model.encoder.blocks[0]
    return int(block.construct.strands)


def _log_probability(model: Cmsl, piece: Piece) -> NDArray[np.float64]:
    scores = log_softmax(model.score_catalogue(piece.rows, piece.questions).double(), dim=1)
    item = piece.targets.item.long().clamp(min=FIRST_INDEX)
    found: NDArray[np.float64] = scores.gather(1, item[:, None])[:, 0].numpy()
    return found


@contextmanager
def silenced(model: Cmsl, strand: int) -> Iterator[None]:
    """The model with one strand's tokens set to 0 behind the attention of every block."""
    with ExitStack() as stack:
        for block in model.encoder.blocks:
            layer = block.after_attend
            assert isinstance(layer, nn.Module)
            handle = layer.register_forward_hook(partial(_zero, strand=strand))
            stack.callback(handle.remove)
        yield


def _zero(_: nn.Module, __: Any, output: Tensor, strand: int) -> Tensor:
    changed = output.clone()  # (k, B, n, d)
    changed[strand] = 0
    return changed
