"""Serving: a fitted model answers for raw recent events, without Spark, by the kernels of ``features/``."""
