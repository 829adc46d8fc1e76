"""``train``: fit and register in one."""

from collections.abc import Sequence
from typing import Any

from training.registry.fitting import run_fit_process
from training.registry.register import register
from training.registry.tracking import Tracking


def train(
    tracking: Tracking,
    config: str,
    overrides: Sequence[str],
    name: str,
    *,
    resume: bool = False,
    controls: Sequence[str] = (),
) -> dict[str, Any]:
    """Fit as configured and register what came of it; the registration's summary.

    FitEndedError, with the fit's own exit status, where the fit does not finish.
    """
    words = ["--config", config, *(word for one in overrides for word in ("--set", one))]
    summary = run_fit_process([*words, "--resume"] if resume else words)
    return register(tracking, summary["output"], name, controls)
