"""How far a run's figures moved from those of the last published run."""

from collections.abc import Mapping

from features.codes import MODES
from pipelines.gates.figures import Metrics


def drift_metrics(now: Mapping[str, float], then: Mapping[str, float] | None) -> Metrics:
    """Changes between two results of ``sessions_metrics``; empty without an earlier run.

    ``mode_drift`` is the total variation distance of the mode mixes, in [0, 1]; the others are
    relative changes, |now / then − 1|.
    """
    if then is None or not then["events"] or not now["events"]:
        return {}
    mix_now, mix_then = _mode_mix(now), _mode_mix(then)
    return {
        "mode_drift": sum(abs(a - b) for a, b in zip(mix_now, mix_then, strict=True)) / 2,
        "events_per_user_change": _change(now, then, "events", "users"),
        "sessions_per_user_change": _change(now, then, "sessions", "users"),
    }


def _mode_mix(figures: Mapping[str, float]) -> list[float]:
    counts = [figures[f"n_{mode}"] for mode in MODES]
    return [count / max(sum(counts), 1) for count in counts]


def _change(now: Mapping[str, float], then: Mapping[str, float], part: str, whole: str) -> float:
    before = then[part] / then[whole]
    return abs(now[part] / now[whole] / before - 1)
