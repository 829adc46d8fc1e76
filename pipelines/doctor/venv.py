""".venv: does its Python start, and is what is installed what is pinned?"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from pipelines.doctor.finding import OK, PROBLEM, WARNING, Finding

AGAIN = "rm -f .venv/.seqloom-*, then make setup-train"
_SHOWN = 4


def site_packages(venv: Path) -> Path | None:
    """Where an environment keeps its packages; None where there is no environment."""
    found = sorted(venv.glob("lib/python3.11/site-packages"))
    return found[0] if found else None


def check_venv(root: Path) -> Finding:
    """Is .venv there, does its Python start, and does it hold what conf/constraints.txt pins?"""
    venv = root / ".venv"
    site = site_packages(venv)
    if site is None:
        return Finding(
            WARNING, ".venv", "not made yet", "make setup-train (make demo and make test do it by themselves)"
        )
    if not _starts(venv / "bin" / "python"):
        found = (
            "its Python does not start: the Python it was made with is gone, or it was copied from elsewhere"
        )
        return Finding(PROBLEM, ".venv", found, "rm -rf .venv, then make setup-train")
    return _packages(root, site)


def _packages(root: Path, site: Path) -> Finding:
    """What ``site`` holds against what the project needs and pins."""
    pins, installed = pinned(root / "conf" / "constraints.txt"), versions(site)
    groups = required(root / "pyproject.toml")
    other = [
        f"{name} {installed[name]} for {pin}"
        for name, pin in sorted(pins.items())
        if installed.get(name, pin) != pin
    ]
    missing = sorted(name for name in groups[""] if name not in installed)
    elsewhere, found = _elsewhere(site, root), f"{len(installed)} packages, as pinned"
    if other:
        return Finding(PROBLEM, ".venv", f"other versions than pinned: {_some(other)}", AGAIN)
    if missing:
        return Finding(PROBLEM, ".venv", f"packages are missing: {_some(missing)}", AGAIN)
    if elsewhere:
        return Finding(WARNING, ".venv", f"it runs the code of {elsewhere}, not of this folder", AGAIN)
    if any(name not in installed for name in groups.get("train", ())):
        return Finding(WARNING, ".venv", f"{found}; training is not installed", "make setup-train")
    return Finding(OK, ".venv", found)


def check_spark(root: Path, environ: Mapping[str, str]) -> Finding:
    """Variables that would put other code in place of what .venv holds."""
    site = site_packages(root / ".venv")
    home = environ.get("SPARK_HOME")
    if home and (site is None or Path(home).resolve() != (site / "pyspark").resolve()):
        return Finding(
            WARNING,
            "Spark",
            f"SPARK_HOME is {home}: spark-submit runs that Spark, with its jars",
            "unset SPARK_HOME, unless you mean it",
        )
    if environ.get("PYSPARK_PYTHON") and not Path(environ["PYSPARK_PYTHON"]).resolve().exists():
        named = environ["PYSPARK_PYTHON"]
        if os.sep in named:
            return Finding(
                PROBLEM, "Spark", f"PYSPARK_PYTHON is {named}: no such file", "unset PYSPARK_PYTHON"
            )
    version = versions(site).get("pyspark") if site else None
    if version is None:
        return Finding(WARNING, "Spark", "not installed yet", "make setup")
    return Finding(OK, "Spark", f"{version}, the one in .venv")


def pinned(constraints: Path) -> dict[str, str]:
    """Canonical package name -> version of a constraints file's ``name==version`` lines."""
    lines = constraints.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("#")[0].split(";")[0].strip().partition("==") for line in lines)
    return {canonical(name): version for name, equals, version in pairs if equals}


def required(pyproject: Path) -> dict[str, list[str]]:
    """Canonical names of what the project needs, under ``""``, and of each extra under its name."""
    try:
        import tomllib  # noqa: PLC0415, of Python 3.11; without it the Python line tells what to do
    except ImportError:
        return {"": []}
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project.get("optional-dependencies", {})}
    return {
        group: [canonical(re.split(r"[=<>!~\[; ]", line)[0]) for line in lines]
        for group, lines in groups.items()
    }


def versions(site: Path) -> dict[str, str]:
    """Canonical name -> version of everything installed in a site-packages folder."""
    return {
        canonical(one.metadata["Name"]): one.version
        for one in distributions(path=[str(site)])
        if one.metadata["Name"]
    }


def canonical(name: str) -> str:
    """A package's name as indexes compare it.

    >>> canonical("Great_Expectations")
    'great-expectations'
    """
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _starts(python: Path) -> bool:
    try:
        return (
            subprocess.run([str(python), "-c", ""], capture_output=True, check=False, timeout=60).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _elsewhere(site: Path, root: Path) -> str | None:
    """The folder whose code an editable install runs, where that is not ``root``."""
    for file in site.glob("seqloom-*.dist-info/direct_url.json"):
        url = json.loads(file.read_text(encoding="utf-8"))["url"]
        folder = url[len("file://") :] if url.startswith("file://") else url
        if Path(folder).resolve() != root.resolve():
            return str(folder)
    return None


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
