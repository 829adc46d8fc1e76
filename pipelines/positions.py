"""How far streams are: which of their batches are published, and which the sequences hold already."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

BATCH_PREFIX: Final = "stream-"
"""How the batch ids of streams begin; a build's run id begins with its day."""


@dataclass(frozen=True)
class Position:
    """Numbers of a stream's last batch in bronze and of the last one in the other layers; -1 before any.

    ``duplicates`` and ``conflicts`` are counted since the latter, as the tables do not tell them.
    """

    batch: int
    built: int = -1
    duplicates: int = 0
    conflicts: int = 0

    def after(self, batch: int, duplicates: int, conflicts: int) -> "Position":
        """The position once a further batch is in bronze."""
        return Position(batch, self.built, self.duplicates + duplicates, self.conflicts + conflicts)


NOWHERE: Final = Position(-1)


def batch_id(stream: str, number: int) -> str:
    """The id of a stream's batch; ids of one stream sort as their numbers do.

    >>> batch_id("clicks-1f", 7)
    'stream-clicks-1f-000000000007'
    """
    return f"{BATCH_PREFIX}{stream}-{number:012d}"


def is_stream(run_id: str) -> bool:
    """Whether a run id is that of a stream's batch."""
    return run_id.startswith(BATCH_PREFIX)


def unbuilt(streams: Mapping[str, Position]) -> list[tuple[str, str]]:
    """First and last batch id of what each stream brought since the last build."""
    return [
        (batch_id(stream, position.built + 1), batch_id(stream, position.batch))
        for stream, position in sorted(streams.items())
        if position.batch > position.built
    ]


def built(streams: Mapping[str, Position]) -> dict[str, Position]:
    """The positions once a build has taken in all that is in bronze."""
    return {stream: Position(position.batch, position.batch) for stream, position in streams.items()}


def positions_to_json(streams: Mapping[str, Position]) -> str:
    """One JSON object, stream by stream."""
    return json.dumps({stream: asdict(position) for stream, position in sorted(streams.items())})


def positions_from_json(text: str | None) -> dict[str, Position]:
    """The inverse of ``positions_to_json``; empty where there is no text."""
    return {stream: Position(**fields) for stream, fields in json.loads(text or "{}").items()}
