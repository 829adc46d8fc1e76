"""Grids of models x data x seeds: ``python -m training.experiments --config conf/experiments/NAME.toml``."""
