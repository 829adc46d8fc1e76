"""Upkeep of a warehouse: small files put together, old ones removed that nothing names."""

from pipelines.maintenance.run import MaintainRequest, maintain_tables

__all__ = ["MaintainRequest", "maintain_tables"]
