"""Raw logs in, typed and deduplicated events out."""

from pipelines.ingest.ingest import IngestResult, ingest

__all__ = ["IngestResult", "ingest"]
