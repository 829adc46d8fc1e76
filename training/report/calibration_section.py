"""Are a click model's probabilities to be believed: predicted against observed, in bins."""

from typing import Any, Final, NamedTuple

import numpy as np

from features.page.amounts import count
from features.page.charts import axis, chart, layer, tip
from features.page.colours import colour
from features.page.figure import Numbers, figure
from features.page.shell import Section
from training.evaluate.ranking import Calibration, Flags, Floats

BINS: Final = 10


class Reliability(NamedTuple):
    """B bins of candidates, each with about as many, by rising probability."""

    predicted: Floats  # (B,) mean probability
    observed: Floats  # (B,) share that was clicked
    candidates: Floats  # (B,)


def reliability(score: Floats, label: Flags, calibration: Calibration, bins: int = BINS) -> Reliability:
    """Bins of N candidates' calibrated probabilities, and the share of positives in each."""
    probability = calibration.probability(score)
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return Reliability(
        np.array([probability[part].mean() for part in parts]),
        np.array([label[part].mean() for part in parts]),
        np.array([float(len(part)) for part in parts]),
    )


def expected_error(found: Reliability) -> float:
    """Mean distance of predicted and observed over candidates (expected calibration error)."""
    return float(np.average(np.abs(found.predicted - found.observed), weights=found.candidates))


def calibration(models: dict[str, Reliability], identifier: str = "calibration") -> Section:
    """A reliability diagram of all models."""
    rows: list[dict[str, Any]] = [
        {
            "model": model,
            "predicted": p,
            "observed": o,
            "shown": f"{p:.2%} predicted, {o:.2%} observed",
            "candidates": count(n),
        }
        for model, found in models.items()
        for p, o, n in zip(*(column.tolist() for column in found), strict=True)
    ]
    most = max(max(row["predicted"], row["observed"]) for row in rows)
    diagonal = [{"predicted": 0.0, "observed": 0.0}, {"predicted": most, "observed": most}]
    y = axis("observed", "Observed (share of candidates acted on)", format=".0%")
    spec = chart(
        rows,
        layer("line", rows=diagonal, strokeDash=[3, 3], encoding={
            "x": axis("predicted", "Predicted probability (share)", format=".0%"), "y": y,
            "color": {"value": colour("axis")},
        }),
        layer("line", point={"size": 50}, strokeWidth=1.8, encoding={
            "x": axis("predicted", "Predicted probability (share)", format=".0%"), "y": y,
            "color": {"field": "model", "type": "nominal", "title": "Model", "sort": None},
            "tooltip": [tip("model", "Model"), tip("shown", "Bin"), tip("candidates", "Candidates")],
        }),
        height=300,
    )  # fmt: skip
    model, found = next(iter(models.items()))
    worst = int(np.argmax(np.abs(found.predicted - found.observed)))
    finding = (
        f"{model}'s probabilities are off by {expected_error(found):.2%} on average, most where it says "
        f"{found.predicted[worst]:.1%} and {found.observed[worst]:.1%} were acted on."
    )
    columns = ["Model", "Predicted", "Observed", "Candidates"]
    shown = [
        [row["model"], f"{row['predicted']:.4f}", f"{row['observed']:.4f}", row["candidates"]] for row in rows
    ]
    lead = (
        "Candidates are a target and its drawn negatives. Scores become probabilities by a scale and a shift "
        "fitted on validation targets; on the dashed line they come true."
    )
    numbers = Numbers(columns, shown, [1, 2, 3])
    picture = figure(
        f"{identifier}-figure", "Predicted against observed", finding, spec, numbers=numbers, wide=True
    )
    return Section(identifier, "Calibration", lead, [picture])
