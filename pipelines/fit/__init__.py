"""What is learned from sessions, once, and then frozen: item vectors, themes and the hop null."""

from pipelines.fit.artefact import Drift, Fit, Theme
from pipelines.fit.learn import learn, vector_coverage
from pipelines.fit.options import EmbeddingOptions, FitOptions, HopOptions, ThemeOptions
from pipelines.fit.tables import FIT_TABLES, fit_frames, load_fit

__all__ = [
    "FIT_TABLES",
    "Drift",
    "EmbeddingOptions",
    "Fit",
    "FitOptions",
    "HopOptions",
    "Theme",
    "ThemeOptions",
    "fit_frames",
    "learn",
    "load_fit",
    "vector_coverage",
]
