"""``--dry-run``: what an unknown log holds, and a config to start from; plain files, no Spark."""

from pipelines.profile.profile import Profile, profile_source

__all__ = ["Profile", "profile_source"]
