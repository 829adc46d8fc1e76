"""The command: ``make doctor``, or ``python3 -m pipelines.doctor`` in the project's folder."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pipelines.doctor.finding import PROBLEM, Finding, render
from pipelines.doctor.jars import check_jars
from pipelines.doctor.java import check_java
from pipelines.doctor.machine import check_cores, check_disk, check_memory, check_network
from pipelines.doctor.python import check_python
from pipelines.doctor.venv import check_spark, check_venv, site_packages


def examine(root: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Every check of the project in ``root``, in the order in which to mend what is off."""
    site = site_packages(root / ".venv")
    temporary = Path(environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or tempfile.gettempdir())
    return [
        check_python(site is not None),
        check_java(environ),
        check_cores(),
        check_memory(),
        check_disk(root, temporary, site is not None),
        check_network(),
        check_venv(root),
        check_spark(root, environ),
        check_jars(site),
    ]


def main(root: Path) -> int:
    """Print what was found; 1 where something must be mended, else 0."""
    findings = examine(root, os.environ)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    print(render(findings, colour))  # noqa: T201
    return int(any(finding.verdict == PROBLEM for finding in findings))


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[2]))
