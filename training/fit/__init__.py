"""Fitting a model: ``python -m training.fit --config conf/train/NAME.toml``."""
