"""Batch scoring: a registered model over the published sequences."""

from pipelines.score.run import ScoreRequest, score_users

__all__ = ["ScoreRequest", "score_users"]
