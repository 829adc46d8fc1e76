"""What the ranks of a data-parallel run tell each other; nothing where there is one."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric

from training.errors import RelayedError, TrainingError

Result = TypeVar("Result")


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


def first_rank_first(fabric: Fabric, work: Callable[[], Result]) -> Result:
    """``work`` on the first rank and then on the others, so that they find what it wrote.

    An expected failure of the first rank ends all of them.
    """
    failure: TrainingError | None = None
    result: Result | None = None
    if fabric.is_global_zero:
        try:
            result = work()
        except TrainingError as error:
            failure = error
    message = fabric.broadcast(str(failure) if failure else "")
    if failure is not None:
        raise failure
    if message:
        raise RelayedError(message)
    return work() if result is None else result
