"""The control: the same model with one strand (k = 1), as many heads, intents and parameters."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from training.models.cmsl.config import CmslConfig

TOLERANCE = 0.05
"""How far the control's parameters may be from the model's."""

Build = Callable[[CmslConfig], nn.Module]


def parameters(build: Build, config: CmslConfig) -> int:
    """How many parameters the model of that config has; none is allocated."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(config).parameters())


def single_strand(build: Build, config: CmslConfig) -> CmslConfig:
    """The config with k = 1 whose parameters are nearest to those of ``config``.

    The one strand gets the heads of all k strands' self-attention and the intents of all groups, which
    makes both as large as those of the k strands together, in parameters and in FLOPs; the width of the
    compression makes up for what else differs. ValueError where no width comes within 5 %. FLOPs are a
    little lower: queries and attended tokens pass through one key and value map instead of k; within
    10 % from 256 events on, where they are compared.
    """
    wanted = parameters(build, config)
    wide = replace(
        config,
        strands=1,
        strand_heads=config.strands * config.strand_heads,
        intents=config.strands * config.intents,
    )
    narrowest = parameters(build, replace(wide, hidden=1))
    per_unit = parameters(build, replace(wide, hidden=2)) - narrowest
    hidden = max(1, 1 + round((wanted - narrowest) / per_unit))
    control = replace(wide, hidden=hidden)
    found = parameters(build, control)
    if abs(found - wanted) > TOLERANCE * wanted:
        raise ValueError(
            f"CMSL: no control with one strand has {wanted:,} parameters within 5 %; nearest is {found:,}"
        )
    return control
