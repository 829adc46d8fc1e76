"""Events that keep arriving, in files or from Kafka, into bronze: exactly once, batch by batch."""

from pipelines.streaming.request import StreamRequest
from pipelines.streaming.run import stream

__all__ = ["StreamRequest", "stream"]
