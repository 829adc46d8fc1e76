"""The Python that set-up takes."""

from __future__ import annotations

import sys

from pipelines.doctor.finding import OK, PROBLEM, WARNING, Finding

WANTED = (3, 11)


def check_python(
    set_up: bool,
    version: tuple[int, ...] = sys.version_info[:3],
    where: str = sys.executable,
    can_venv: bool | None = None,
) -> Finding:
    """The Python that set-up takes: 3.11, and able to make environments. Once set up, .venv has its own."""
    shown = ".".join(map(str, version))
    off = WARNING if set_up else PROBLEM
    advice = (
        "install Python 3.11 (Debian: apt-get install python3.11-venv), or make PYTHON=/path/to/python3.11"
    )
    if version[:2] != WANTED:
        return Finding(off, "Python", f"{shown} ({where}); 3.11 is needed", advice)
    if not (_can_venv() if can_venv is None else can_venv):
        return Finding(off, "Python", f"{shown} ({where}) cannot make environments: no ensurepip", advice)
    return Finding(OK, "Python", f"{shown} ({where})")


def _can_venv() -> bool:
    try:
        import ensurepip  # noqa: F401, PLC0415, asked for alone
        import venv  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True
