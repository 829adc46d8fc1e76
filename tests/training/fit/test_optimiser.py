"""Which weights decay, and the examples in docstrings."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import training.fit
from tests.training.fit.toy import ToyModel
from training.fit.optimiser import adamw, set_rate


def test_matrices_decay_and_nothing_else() -> None:
    """With no gradient but zero, AdamW only decays: by rate times decay."""
    model = ToyModel()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = adamw(model, weight_decay=0.5, betas=(0.9, 0.999))
    set_rate(optimiser, 0.1)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    decayed = set()
    for name, weight in model.named_parameters():
        if torch.equal(weight, before[name]):
            continue
        decayed.add(name)
        torch.testing.assert_close(weight.detach(), before[name] * (1 - 0.1 * 0.5))
    linear = ("attend.project", "attend.merge", "feed.inner", "feed.outer")
    assert decayed == {f"encoder.blocks.0.{part}.weight" for part in linear}


def test_frozen_weights_are_held_for_later() -> None:
    model = ToyModel()
    model.embed.requires_grad_(False)
    held = sum(
        weight.numel() for group in adamw(model, 0.1, (0.9, 0.999)).param_groups for weight in group["params"]
    )
    assert held == sum(weight.numel() for weight in model.parameters())


MODULES = [module.name for module in pkgutil.iter_modules(training.fit.__path__) if module.name != "__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"training.fit.{name}")).failed == 0
