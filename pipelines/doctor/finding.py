"""What a check finds, and how it is shown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

OK, WARNING, PROBLEM = "ok", "warning", "problem"
WIDTH = 80
_INDENT = 21
_COLOURS = {OK: "32", WARNING: "33", PROBLEM: "31;1"}


class Finding(NamedTuple):
    """One line of the doctor's: a verdict on ``subject``, and how to ``mend`` what is not ok."""

    verdict: str  # OK, WARNING or PROBLEM
    subject: str
    found: str
    mend: str = ""


def render(findings: Sequence[Finding], colour: bool = False) -> str:
    """The findings for people, 80 columns wide, and what they come to."""
    lines = ["seqloom doctor", ""]
    for finding in findings:
        head = f"  {finding.verdict:<7}  {finding.subject:<9}"
        first, *more = _wrapped(finding.found) or [""]
        shown = f"\x1b[{_COLOURS[finding.verdict]}m{finding.verdict:<7}\x1b[0m" if colour else None
        lines.append(f"{head.replace(f'{finding.verdict:<7}', shown, 1) if shown else head} {first}".rstrip())
        lines += [" " * _INDENT + line for line in more]
        if finding.mend:
            lines += [" " * _INDENT + line for line in _wrapped(f"→ {finding.mend}")]
    return "\n".join([*lines, "", *textwrap.wrap(verdict(findings), WIDTH)])


def verdict(findings: Sequence[Finding]) -> str:
    """What the findings come to, in one sentence."""
    problems = [finding.subject for finding in findings if finding.verdict == PROBLEM]
    warnings = [finding.subject for finding in findings if finding.verdict == WARNING]
    if problems:
        return f"Not ready: mend {', '.join(problems)} first, as the arrows say."
    if warnings:
        return f"Ready, with warnings about {', '.join(warnings)}. Next: make demo"
    return "Ready. Next: make demo"


def _wrapped(text: str) -> list[str]:
    width = WIDTH - _INDENT
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
