"""Running themes in plain Python, on integers: a vector is a tuple of multiples of 2^-16."""

from collections.abc import Sequence

Vector = tuple[int, ...]


def add(vectors: Sequence[Vector], dim: int) -> Vector:
    return tuple(sum(vector[d] for vector in vectors) for d in range(dim))


def nearest(total: Vector, centroids: dict[int, Vector]) -> int:
    """Theme id of the largest dot product; the lowest id of several; 1 for a zero sum."""
    if not any(total) or not centroids:
        return 1
    dots = {theme: sum(a * b for a, b in zip(total, c, strict=True)) for theme, c in centroids.items()}
    return min(theme for theme, dot in dots.items() if dot == max(dots.values()))


def running(session: Sequence[Vector | None], centroids: dict[int, Vector], dim: int) -> list[int]:
    """Theme after each event of one session; None is an event without a vector."""
    return [
        nearest(add([v for v in session[: i + 1] if v is not None], dim), centroids)
        for i in range(len(session))
    ]
