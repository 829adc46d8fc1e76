"""Writing a warehouse's report: beside the tables, or where a person asks for it."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipelines.errors import ConfigError, WarehouseError
from pipelines.lock import local_folder
from pipelines.report import FOLDER
from pipelines.report.build_report import measure, render
from pipelines.report.compare import other_build
from pipelines.report.facts import read_facts

LATEST: Final = "build.html"


def write_report(
    root: str, *, users: Sequence[str] = (), compare: str | None = None, out: str | None = None
) -> Path:
    """Write the report of the warehouse at ``root``; where it lies.

    ``users`` are shown in the explorer, ``compare`` is another warehouse or a run of this one, ``out`` the
    file to write instead of ``root/reports/build.html``. Raises ConfigError for a wrong argument,
    WarehouseError where there is no warehouse.
    """
    folder = local_folder(root)
    if folder is None:
        raise ConfigError(
            f"{root}: reports are read and written on a file system; mount the store, or copy it"
        )
    if not (folder / "ops").is_dir():
        raise WarehouseError(f"{root}: not a warehouse (it holds no ops/); pass the folder of a build")
    facts = read_facts(str(folder))
    found = measure(facts, users)
    other = None if compare is None else other_build(str(folder), compare)
    path = Path(out) if out else folder / FOLDER / LATEST
    _replace(path, render(facts, found, folder.resolve().name, other))
    return path


def _replace(path: Path, text: str) -> None:
    """Put the whole file there in one step: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
