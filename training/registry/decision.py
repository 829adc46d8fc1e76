"""Whether a challenger replaces the champion: the rule, and what it made of the figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from training.evaluate.compare import compare
from training.evaluate.report import label
from training.evaluate.slices import PRIMARY, SLICES
from training.evaluate.statistics import Interval
from training.registry.contest import Answers

GUARDED: Final = ("first_of_session", PRIMARY, "within_session", "history_0_9")
"""Slices that must not fall, where nothing else is asked (our choice)."""


@dataclass(frozen=True)
class Rule:
    """The challenger must be better by ``metric`` and fall on no guarded slice by more than ``tolerance``.

    *Better*: the lower end of the ``level`` interval of the difference, paired bootstrap over users, is
    above 0. *No fall*: on each guarded slice the lower end is above −``tolerance`` (in the metric's own
    units); a slice of fewer users than ``guard_users`` (our choice: 30 show little) decides nothing.
    """

    metric: str
    guarded: tuple[str, ...] = GUARDED
    tolerance: float = 0.02
    guard_users: int = 30
    level: float = 0.95

    def __str__(self) -> str:
        slices = ", ".join(label(name) for name in self.guarded) or "none"
        return (
            f"{self.metric} better than every rival: the lower end of the {self.level:.0%} interval of the "
            f"difference (paired bootstrap over users) is above 0; against the champion also, on each "
            f"guarded slice ({slices}), above −{self.tolerance:g}"
        )


@dataclass(frozen=True)
class Duel:
    """The challenger against one rival."""

    rival: str
    overall: Interval  # challenger minus rival
    guarded: dict[str, Interval | None]  # by slice; empty against a control, None: not measured

    def faults(self, rule: Rule) -> list[str]:
        """Why the challenger does not pass, in words; none where it does."""
        found = []
        if not self.overall.above_zero:
            found.append(f"not shown better than {self.rival}: {shown(self.overall)}")
        for name, interval in self.guarded.items():
            if interval is not None and interval.low <= -rule.tolerance:
                found.append(f"may fall against {self.rival} on {label(name)}: {shown(interval)}")
        return found


def duel(challenger: Answers, rival: Answers, rule: Rule, *, guarded: bool) -> Duel:
    """Compare on all targets and, where they are guarded, on the rule's slices.

    ValueError where the window holds fewer than two users.
    """
    overall = compare({0: challenger.frame}, {0: rival.frame}, rule.metric, level=rule.level)
    slices = rule.guarded if guarded else ()
    return Duel(rival.label, overall, {name: _on(challenger, rival, rule, name) for name in slices})


def _on(challenger: Answers, rival: Answers, rule: Rule, name: str) -> Interval | None:
    inside = rival.frame[SLICES[name](rival.frame)]
    if rule.metric in inside:  # a column such as auc has no value where a target has no rivals
        inside = inside[inside[rule.metric].notna()]
    if inside["user"].nunique() < max(2, rule.guard_users):  # one cannot be resampled
        return None
    return compare({0: challenger.frame}, {0: rival.frame}, rule.metric, name, level=rule.level)


def faults(duels: Sequence[Duel], rule: Rule) -> list[str]:
    """Why the challenger is not promoted; none where it is."""
    return [fault for one in duels for fault in one.faults(rule)]


def shown(interval: Interval, digits: int = 4) -> str:
    """An interval as people read it: ``+0.0123 [+0.0041, +0.0205]``."""
    return f"{interval.estimate:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"
