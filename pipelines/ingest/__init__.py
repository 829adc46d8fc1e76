"""Raw logs in, typed and deduplicated events out."""

from pipelines.ingest.ingest import BROADCAST_IDS, IngestResult, Intake, ingest, ingest_rows
from pipelines.ingest.write import newest_event

__all__ = ["BROADCAST_IDS", "IngestResult", "Intake", "ingest", "ingest_rows", "newest_event"]
