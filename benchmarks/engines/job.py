"""The main job as benchmarks begin it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.engines.measure import Cost, answer_of, measure

JOB = Path(__file__).resolve().parents[2] / "jobs" / "build_sequences.py"


def with_settings(config: str, settings: Mapping[str, str]) -> str:
    """A configuration's TOML with Spark settings, of which it has none itself."""
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join([config, "[spark.settings]", *lines, ""])


def run_job(
    command: Sequence[str], config: str, source: Path, out: Path, environment: Mapping[str, str] | None = None
) -> tuple[Cost, dict[str, Any]]:
    """Have ``command``, which begins the job, build ``out/warehouse`` anew: what it took, and its summary."""
    target, path = out / "warehouse", out / "job.toml"
    shutil.rmtree(target, ignore_errors=True)
    path.write_text(config)
    words = ["--config", str(path), "--source", str(source), "--warehouse", str(target)]
    return measure([*command, *words], target, environment), answer_of(target)
