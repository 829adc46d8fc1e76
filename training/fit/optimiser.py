"""AdamW with weight decay on matrices only."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.optim import AdamW, Optimizer


def adamw(model: nn.Module, weight_decay: float, betas: tuple[float, float]) -> Optimizer:
    """AdamW over the model's trainable parameters; the rate is set before every step.

    Weight decay leaves out embeddings, norms and biases: an item's vector would shrink at every step in
    which the item does not occur (our choice). Parameters that a stage of training freezes for a while
    are included; AdamW skips what has no gradient.
    """
    tables = {id(weight) for weight in _embedding_tables(model)}
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for weight in model.parameters():
        (decayed if weight.ndim >= 2 and id(weight) not in tables else spared).append(weight)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=0.0, betas=betas)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Give every group the same rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def _embedding_tables(model: nn.Module) -> Iterator[torch.Tensor]:
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            yield module.weight
