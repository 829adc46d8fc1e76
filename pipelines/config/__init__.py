"""The job's configuration: TOML in, validated frozen models out."""

from pipelines.config.load import load_config
from pipelines.config.model import Config

__all__ = ["Config", "load_config"]
