"""What the ranks of a data-parallel run tell each other; nothing where there is one."""

from typing import Any

import torch
from lightning_fabric import Fabric


def sum_over_ranks(fabric: Fabric, value: int) -> int:
    """The sum of a whole number over all ranks."""
    if fabric.world_size == 1:
        return value
    total: Any = fabric.all_reduce(torch.tensor(value, device=fabric.device), reduce_op="sum")
    return int(total)


def any_rank(fabric: Fabric, flag: bool) -> bool:
    """Whether the flag is set on any rank; the same answer on all."""
    return sum_over_ranks(fabric, int(flag)) > 0


def from_all_ranks(fabric: Fabric, held: Any) -> list[Any]:
    """What every rank holds, by rank."""
    if fabric.world_size == 1:
        return [held]
    everyone: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(everyone, held)  # pickles, but only between this run's own ranks
    return everyone
