"""MoS, Mixture of Sequence (arXiv 2604.20858), as far as its abstract and a digest tell; see PAPERS.md."""

from training.models.mos.ranking import MoSRanker
from training.models.mos.retrieval import MoS
from training.models.mos.stages import Stage, Stages

__all__ = ["MoS", "MoSRanker", "Stage", "Stages"]
