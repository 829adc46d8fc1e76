"""Controls of equal size: how wide a control must be to have as many parameters as another model."""

from collections.abc import Callable

from torch import nn


def body_parameters(model: nn.Module) -> int:
    """Learned parameters outside embedding tables, which are the same for a model and its control."""
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    return sum(p.numel() for p in model.parameters() if p.requires_grad and id(p) not in tables)


def matched_width(
    build: Callable[[int], nn.Module], wanted: int, *, widest: int = 1 << 16, tolerance: float = 0.05
) -> int:
    """The width with which ``build(width)`` comes closest to ``wanted`` body parameters.

    ``build`` must grow with its argument, e.g. ``lambda inner: SASRec(sizes, replace(shape, ff=inner /
    shape.dim))`` or a head's ``head_inner``. ValueError where the closest width misses ``wanted`` by more
    than ``tolerance``: the control's other sizes then have to change.
    """
    low, high = 1, widest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if body_parameters(build(middle)) > wanted else (middle, high)
    sizes = {width: body_parameters(build(width)) for width in (low, high)}
    best = min(sizes, key=lambda width: abs(sizes[width] - wanted))
    if abs(sizes[best] - wanted) > tolerance * wanted:
        raise ValueError(f"no width up to {widest} gives {wanted} parameters: {best} gives {sizes[best]}")
    return best
