"""Java: the one that Spark would start."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.doctor.finding import OK, PROBLEM, WARNING, Finding
from pipelines.packages import JAVA_ADVICE, JAVA_MAJOR, find_java

NEWEST_MAJOR = 21
"""The newest Java that Spark 4.0 is made for."""


def check_java(environ: Mapping[str, str]) -> Finding:
    """Is the Java of ``JAVA_HOME``, else the one on ``PATH``, of a version that Spark runs on?"""
    home, java = environ.get("JAVA_HOME"), find_java(environ)
    if java.major is None and home:
        return Finding(
            PROBLEM,
            "Java",
            f"JAVA_HOME is {home}, but {java.path}: {java.answer}",
            f"unset JAVA_HOME, or set it to a Java {JAVA_MAJOR}'s folder, the one above bin/java",
        )
    if java.path is None or java.major is None:
        return Finding(PROBLEM, "Java", f"{java.path or 'none'}: {java.answer}", JAVA_ADVICE)
    found = f"{java.answer} ({java.path}{', from JAVA_HOME' if home else ''})"
    if java.major < JAVA_MAJOR:
        return Finding(PROBLEM, "Java", f"{found} is too old", JAVA_ADVICE)
    if java.major > NEWEST_MAJOR:
        return Finding(WARNING, "Java", f"{found} is newer than Spark 4.0 is made for", JAVA_ADVICE)
    return Finding(OK, "Java", found)
