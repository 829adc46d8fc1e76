"""Where a run came from: code, packages, machine, table and times. Written to ``run.json``."""

import importlib.metadata
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from training.splits import Splits
from training.table import SequenceTable
from training.vocabulary import TrainVocabulary

PACKAGES: Final = ("seqloom", "torch", "lightning-fabric", "numpy", "pyarrow", "petastorm", "deltalake")


def lineage(table: SequenceTable, splits: Splits, vocabulary: TrainVocabulary) -> dict[str, Any]:
    """Everything by which a run can be traced and repeated, as plain values."""
    publication = table.publication
    sizes = vocabulary.sizes
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "code_commit": code_commit(),
        "packages": installed(),
        "python": platform.python_version(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())],
        "table": {
            "path": table.path,
            "id": table.id,
            "version": table.version,
            "rows": table.rows,
            "publication": publication.number if publication else None,
            "as_of": publication.as_of.isoformat() if publication else None,
            "fit_id": publication.fit_id if publication else None,
            "versions": publication.versions if publication else {},
        },
        "splits": {
            "train_end": instant(splits.train_end),
            "valid_end": instant(splits.valid_end),
            "end": instant(splits.end),
        },
        "vocabulary": {
            "items": sizes.items,
            "categories": sizes.categories,
            "types": sizes.types,
            "themes": len(vocabulary.themes),
        },
    }


def installed() -> dict[str, str | None]:
    """The versions of the packages that a run's figures depend on."""
    return {name: _version(name) for name in PACKAGES}


def instant(seconds: int) -> str:
    """Unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def code_commit() -> str | None:
    """The commit of this code, '+changed' for edited files; None where git cannot tell."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    commit = _git(here, "rev-parse", "HEAD")
    changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changed" if commit and changed else commit or None


def _git(folder: Path, *words: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # the commit is optional
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
