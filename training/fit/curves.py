"""The curves of a run as a picture: what was minimised, and what validation measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.fit.stopping import Stopper

INK, MUTED, BEST = "#1f3b73", "#8aa0c8", "#d1495b"
STYLES: Final = ("--", ":", "-.")
NOT_A_LOSS: Final = {"step", "loss", "samples_per_second", "waiting", "learning_rate", "seconds"}

Line = Mapping[str, Any]


def draw_curves(history: Sequence[Line], stopper: Stopper, title: str, path: Path) -> None:
    """Write a PNG with the loss and its parts on the left and the deciding metric on the right.

    Draws nothing where nothing was measured.
    """
    trained = [line for line in history if "validation" not in line]
    validated = [line for line in history if "validation" in line]
    panels = [panel for panel in (trained, validated) if panel]
    if not panels:
        return
    figure = Figure(figsize=(4.8 * len(panels), 3.6), dpi=150, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if panel is trained:
            _losses(axes, trained)
        else:
            _validations(axes, validated, stopper)
        axes.set_xlabel("optimiser step")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path)


def _losses(axes: Axes, trained: Sequence[Line]) -> None:
    names = sorted({name for line in trained for name in line} - NOT_A_LOSS)
    parts = [name for name in names if any(line.get(name) != line["loss"] for line in trained)]
    for place, name in enumerate(parts):
        style = STYLES[place % len(STYLES)]
        steps, values = _points(trained, name)
        axes.plot(steps, values, color=MUTED, linewidth=1.1, linestyle=style, label=name.replace("_", " "))
    axes.plot(*_points(trained, "loss"), color=INK, linewidth=1.6, label="loss")
    axes.set_title("training loss, nats", fontsize=9, loc="left")
    if parts:
        axes.legend(frameon=False, fontsize=8)


def _validations(axes: Axes, validated: Sequence[Line], stopper: Stopper) -> None:
    measured = [line | line["validation"] for line in map(dict, validated)]
    axes.plot(*_points(measured, stopper.metric), color=INK, marker="o", markersize=3.5, linewidth=1.6)
    if stopper.best is not None:
        label = f"best: {stopper.best:.4f} after step {stopper.best_step:,}"
        axes.plot([stopper.best_step], [stopper.best], "o", color=BEST, markersize=7, label=label)
        axes.legend(frameon=False, fontsize=8)
    axes.set_title(f"validation, {stopper.metric}", fontsize=9, loc="left")


def _points(lines: Sequence[Line], name: str) -> tuple[list[int], list[float]]:
    found = [(line["step"], line[name]) for line in lines if name in line]
    return [step for step, _ in found], [value for _, value in found]
