"""Dropout whose mask is drawn four numbers at a time: on a CPU drawing it is most of what dropout costs."""

import torch
from torch import Tensor, nn

LEVELS = 1 << 16
"""The rate is rounded to a multiple of 1 / LEVELS (our choice), so that 16 random bits decide."""


class Dropout(nn.Dropout):
    """``nn.Dropout`` by another draw on a CPU: 16 bits an element, cut from random 64-bit words.

    torch's own draws a float for each element, which takes four times as long. On other devices, and
    where the graph is compiled, this is ``nn.Dropout``.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if not self.training or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        dropped = round(self.p * LEVELS)
        if dropped in (0, LEVELS):
            return super().forward(x)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)  # -LEVELS / 2 … LEVELS / 2 - 1
        kept = (bits >= dropped - LEVELS // 2).to(x.dtype)
        return x * kept.mul_(LEVELS / (LEVELS - dropped))
