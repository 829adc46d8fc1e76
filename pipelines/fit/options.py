"""Settings of a fit; every one of them is part of the fit's id."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from features.hops import MIN_NULL

Method = Literal["ppmi_svd", "word2vec", "category"]


@dataclass(frozen=True)
class EmbeddingOptions:
    """How item vectors are learned from sessions.

    Items with ``min_count`` events or more get a vector of their own; the ``max_items`` most frequent
    of them, and as many categories, are the *head* that is factorised in one process, the others are
    folded in by Spark. ``max_pairs`` bounds the head's co-occurrences that reach that process.
    """

    method: Method = "ppmi_svd"
    dimensions: int = 32
    window: int = 8  # distinct items of a session on either side that count as neighbours
    min_count: int = 2
    max_items: int = 200_000
    max_pairs: int = 20_000_000
    max_sessions: int = 1_000_000
    shrinkage: float = 3.0  # events after which an item's own vector outweighs its category's
    seed: int = 17

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(
                f"embeddings.method {self.method!r} is unknown; known: {', '.join(get_args(Method))}"
            )
        for name in ("dimensions", "window", "min_count", "max_items", "max_pairs", "max_sessions"):
            if getattr(self, name) < 1:
                raise ValueError(f"embeddings.{name} = {getattr(self, name)} must be at least 1")
        if self.shrinkage < 0:
            raise ValueError(f"embeddings.shrinkage = {self.shrinkage} must not be negative")


@dataclass(frozen=True)
class ThemeOptions:
    """How session interests are clustered; ``count`` "auto" picks one of ``candidates``."""

    count: int | Literal["auto"] = "auto"
    candidates: tuple[int, ...] = (8, 12, 16, 20, 24, 32, 40, 48, 64)
    min_session_events: int = 3
    max_sessions: int = 200_000
    restarts: int = 8
    seed: int = 17

    def __post_init__(self) -> None:
        if self.count != "auto" and self.count < 2:
            raise ValueError(f"themes.count = {self.count} must be at least 2 or 'auto'")
        if self.count == "auto" and (not self.candidates or min(self.candidates) < 2):
            raise ValueError("themes.candidates must name counts of at least 2")
        for name in ("min_session_events", "max_sessions", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"themes.{name} = {getattr(self, name)} must be at least 1")


@dataclass(frozen=True)
class HopOptions:
    """The level of the hop test, and how many windows its null keeps per pair of size classes."""

    alpha: float = 0.1
    null_pairs: int = 20_000

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"hops.alpha = {self.alpha} must lie between 0 and 1")
        if self.null_pairs < MIN_NULL:
            raise ValueError(f"hops.null_pairs = {self.null_pairs} must be at least {MIN_NULL}")


@dataclass(frozen=True)
class FitOptions:
    """All settings of a fit."""

    embeddings: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    themes: ThemeOptions = field(default_factory=ThemeOptions)
    hops: HopOptions = field(default_factory=HopOptions)

    def to_json(self) -> dict[str, Any]:
        """A plain form; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "FitOptions":
        """The options that ``to_json`` wrote."""
        themes = plain["themes"] | {"candidates": tuple(plain["themes"]["candidates"])}
        return cls(
            EmbeddingOptions(**plain["embeddings"]), ThemeOptions(**themes), HopOptions(**plain["hops"])
        )
