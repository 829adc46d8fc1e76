"""The tensor contract of ``gold/user_sequences``: one declaration of names, shapes and dtypes.

The Spark writer, the gates, the loader and the model signature all read it from here.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

EVENT_FIELDS: Final[dict[str, str]] = {
    "ordinal": "int32",  # absolute in the user's history, from 1
    "item": "int32",
    "category": "int32",
    "type": "int32",
    "mode": "int32",
    "ts": "int64",  # unix seconds, floored
    "session": "int32",  # session ordinal, from 1
    "theme_session": "int32",  # theme of the event's session, as of the chunk's end
    "theme_running": "int32",  # theme of the session so far, this event included
}
"""``events__<name>``, each of shape ``[L]``, latest last, padded on the left."""

TARGET_COLUMNS: Final = ("targets__pos", "targets__read_pos")
"""Positions of the targets, and of the last event that each may see (``ts`` strictly before its own,
compared in µs, which ``events__ts`` no longer holds); shape ``[P]``, padded on the right with -1."""

FAMILIES: Final = ("recent", "session", "theme", "category", "mode")


@dataclass(frozen=True)
class FamilySpec:
    """A strand family: up to ``strands`` keys (S), newest first, up to ``length`` events (C) each."""

    name: str
    strands: int
    length: int

    def __post_init__(self) -> None:
        if self.name not in FAMILIES:
            raise ValueError(f"strand family {self.name!r} is unknown; known: {', '.join(FAMILIES)}")
        if self.strands < 1 or self.length < 1:
            raise ValueError(f"strand family {self.name}: strands and length must be at least 1")
        if self.name == "recent" and self.strands != 1:
            raise ValueError("strand family recent is one strand: strands must be 1")

    @property
    def min_key(self) -> int:
        """The smallest key that forms a strand: unknown categories and absent themes form none."""
        return 2 if self.name in ("theme", "category") else 1

    @property
    def lookback(self) -> int:
        """Events that one prefix may need for this family; a theme may need one closed key more."""
        return (self.strands + (self.name == "theme")) * self.length


def default_families() -> tuple[FamilySpec, ...]:
    """The five families with their default sizes (our choice; DSIN's 5 x 10 for sessions)."""
    return (
        FamilySpec("recent", 1, 100),
        FamilySpec("session", 5, 10),
        FamilySpec("theme", 4, 32),
        FamilySpec("category", 8, 64),
        FamilySpec("mode", 4, 32),
    )


@dataclass(frozen=True)
class SequenceSpec:
    """Shapes of ``gold/user_sequences``.

    ``pool`` is L, the most events a chunk may hold; ``targets`` is P, the most targets it may own.
    ``buckets`` are the lengths that rows are padded to, ascending; the last one is L.
    """

    pool: int = 2048
    targets: int = 256
    buckets: tuple[int, ...] = (16, 64, 128, 256, 512, 1024, 2048)
    families: tuple[FamilySpec, ...] = field(default_factory=default_families)

    def __post_init__(self) -> None:
        names = [family.name for family in self.families]
        if len(set(names)) != len(names):
            raise ValueError(f"a strand family is declared twice: {', '.join(names)}")
        if "recent" not in names:
            raise ValueError("the strand family recent is required")
        if self.targets < 1:
            raise ValueError("targets must be at least 1")
        if list(self.buckets) != sorted(set(self.buckets)) or self.buckets[-1] != self.pool:
            raise ValueError(f"buckets {self.buckets} must ascend and end at pool = {self.pool}")
        recent = self.family("recent").length
        for family in self.families:
            if family.length > recent:
                raise ValueError(
                    f"strand family {family.name}: length {family.length} exceeds recent's {recent}"
                )
        if self.pool < self.smallest_pool:
            raise ValueError(
                f"pool = {self.pool} cannot hold one target's strands in the worst case; "
                f"raise it to {self.smallest_pool} or shrink the families"
            )

    @property
    def smallest_pool(self) -> int:
        """Pool that one target needs at worst: its own prefix and the chunk's end, no event shared."""
        return 2 * sum(family.lookback for family in self.families) + 1

    def family(self, name: str) -> FamilySpec:
        """The family of that name; KeyError where the spec has none."""
        for family in self.families:
            if family.name == name:
                return family
        raise KeyError(name)

    def without(self, *names: str) -> "SequenceSpec":
        """The spec less some families, for sources in which they are constant."""
        kept = tuple(family for family in self.families if family.name not in names)
        return SequenceSpec(self.pool, self.targets, self.buckets, kept)

    def bucket(self, length: int) -> int:
        """The smallest bucket that holds ``length`` events."""
        for size in self.buckets:
            if length <= size:
                return size
        raise ValueError(f"{length} events exceed the pool of {self.pool}")

    def shape(self, column: str, bucket: int) -> tuple[int, ...]:
        """Shape of an array column in rows of that bucket, before it is flattened."""
        group, _, name = column.partition("__")
        if group == "events" and name in EVENT_FIELDS:
            return (bucket,)
        if column in TARGET_COLUMNS:
            return (min(self.targets, bucket),)
        family = self.family(group)
        return (family.strands, min(family.length, bucket)) if name == "pos" else (family.strands,)

    def array_columns(self) -> dict[str, str]:
        """Array columns and the dtype of their elements, in table order."""
        columns = {f"events__{name}": dtype for name, dtype in EVENT_FIELDS.items()}
        columns |= dict.fromkeys(TARGET_COLUMNS, "int32")
        for family in self.families:
            columns[f"{family.name}__pos"] = "int32"
            columns[f"{family.name}__key"] = "int32"
        return columns

    def to_json(self) -> dict[str, Any]:
        """A plain form for run records and model lineage; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "SequenceSpec":
        """The spec that ``to_json`` wrote."""
        families = tuple(FamilySpec(**family) for family in plain["families"])
        return cls(plain["pool"], plain["targets"], tuple(plain["buckets"]), families)
