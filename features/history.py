"""Events with their themes, as the chunk kernel reads them: one flat array a field."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from features.block import EventBlock


@dataclass(frozen=True)
class Events:
    """N events in order; the fields of ``EVENT_FIELDS``, but ``ts`` in µs."""

    ordinal: NDArray[np.int32]
    item: NDArray[np.int32]
    category: NDArray[np.int32]
    type: NDArray[np.int32]
    mode: NDArray[np.int32]
    ts: NDArray[np.int64]
    session: NDArray[np.int32]
    theme_session: NDArray[np.int32]
    theme_running: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Events":
        """The chosen events; a slice copies nothing."""
        return Events(*(getattr(self, field.name)[which] for field in fields(self)))

    @staticmethod
    def concat(parts: Sequence["Events"]) -> "Events":
        """Events of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return Events(
            *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events))
        )

    @staticmethod
    def of_block(
        block: EventBlock, theme_running: NDArray[np.int32], theme_session: NDArray[np.int32]
    ) -> "Events":
        """The block's events with their tags; ValueError where a tag is missing for some."""
        if not block.size == len(theme_running) == len(theme_session):
            raise ValueError(
                f"the block has {block.size} events but {len(theme_running)} running and "
                f"{len(theme_session)} session themes; give one of each per event"
            )
        return Events(
            block.ordinal,
            block.item,
            block.category,
            block.type,
            block.mode,
            block.ts,
            block.session,
            theme_session,
            theme_running,
        )
