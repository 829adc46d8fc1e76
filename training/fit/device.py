"""Where a run computes: devices, precision, and which algorithms may be used."""

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy

from training.errors import ConfigError
from training.fit.config import Hardware


def make_fabric(hardware: Hardware) -> Fabric:
    """Fabric on the devices asked for; ``launch`` starts the other ranks' processes.

    Gradients of several devices are averaged by DDP. A parameter may go without a gradient in a step (a
    stage that is frozen, a batch without the kind of target), so DDP looks for those. Under ``torchrun``
    the processes are there already.

    Raises ConfigError where the machine has no such devices.
    """
    strategy: str | Strategy = "auto"
    if hardware.devices > 1:
        strategy = DDPStrategy(find_unused_parameters=True)
    precision = "32-true" if hardware.precision == "32" else hardware.precision
    try:
        fabric = Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            strategy=strategy,
            precision=precision,
        )
    except Exception as error:  # Fabric has no common error for what a machine lacks
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"hardware: {hardware.devices} x {hardware.accelerator} is not to be had here ({reason}); set "
            "hardware.accelerator and hardware.devices to what there is"
        ) from None
    _be_repeatable(fabric)
    if fabric.device.type == "cpu" and hardware.devices == 1:
        _leave_a_core()
    return fabric


def _leave_a_core() -> None:
    """Compute on all cores but one, which reads; OMP_NUM_THREADS, where it is set, decides instead.

    Two cores with two threads train at a fifth of the speed while the next epoch is being read: the
    threads of either wait for each other's at the end of every operation.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))


def _be_repeatable(fabric: Fabric) -> None:
    """Let the CPU compute the same bits every time.

    Some gradients (of gathering by index) are otherwise summed in the order in which threads get there.
    GPUs are left as they are: their repeatable versions are slower, and some do not exist.
    """
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010, a module's property
    torch.use_deterministic_algorithms(fabric.device.type == "cpu")
