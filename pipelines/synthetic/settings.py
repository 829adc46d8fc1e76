"""What a generated clickstream looks like, field by field; defaults imitate Taobao's UserBehavior."""

# ruff: noqa: RUF009 - `option` only makes the field

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, TypeVar

from pipelines.errors import ConfigError

Format = Literal["csv", "jsonl", "parquet", "delta"]
TsUnit = Literal["iso", "s", "ms", "us"]
Chain = Literal["resume", "restart"]

FORMATS: Final = ("csv", "jsonl", "parquet", "delta")
TS_UNITS: Final = ("iso", "s", "ms", "us")
CHAINS: Final = ("resume", "restart")

GAP_S: Final = 1_800
"""The session gap of DESIGN.md in seconds: a gap equal to it does not cut."""

CAP_S: Final = 86_400
"""The longest session of DESIGN.md in seconds: a span equal to it does not cut."""

MAX_SESSION_EVENTS: Final = 400
"""No session of a person is longer (Taobao's longest has 130 events)."""

SESSIONS_PER_USER: Final = 17.3
"""Taobao's mean over its nine days."""


T = TypeVar("T")


def option(default: T, about: str) -> T:
    """A field of ``Settings``; ``about`` is its documentation and the job's ``--help``."""
    return field(default=default, metadata={"help": about})


TAOBAO_START: Final = datetime(2017, 11, 24, 16, tzinfo=UTC)


@dataclass(frozen=True)
class Settings:
    """Size, difficulty and faults of one generated data set; refuses contradictory values."""

    events: int = option(
        100_000,
        "Valid events, each counted once: duplicates and malformed rows come on top",
    )
    seed: int = option(7, "Same settings and seed: same bytes, whatever the number of workers")
    users: int = option(0, "People, bots included; 0: as many as give 17.3 sessions each, at most four a day")
    start: datetime = option(TAOBAO_START, "First possible second (UTC)")
    days: int = option(9, "Length of the window from ``start``; every valid event lies in it")

    themes: int = option(40, "Themes in the world; how many people follow it falls as 1/rank^0.6")
    items_per_theme: int = option(200, "Places of a theme's chain, which closes to a ring")
    themes_per_user: int = option(5, "Themes that a person returns to; 1 is the control without hops")
    hop_probability: float = option(
        0.58,
        "P(a session's theme differs from the theme of the person's session before)",
    )
    chain: Chain = option(
        "resume",
        "resume: a return goes on where the person left the theme; restart: each session starts anywhere",
    )
    jump: float = option(
        0.06,
        "Share of on-theme events at any item of the theme, popular ones more, instead of 1–3 steps on",
    )
    off_theme: float = option(
        0.02,
        "Share of events at an item of another theme. Above α of the hop test, one-event sides decide little",
    )
    theme_overlap: float = option(0.0, "Share of a chain's places that hold an item of another theme's chain")
    shared_categories: float = option(
        0.25,
        "Share of the categories of a stretch of a chain that are popular ones, shared by all themes",
    )

    session_length: float = option(
        6.0,
        "Mean events of a session: a fifth are one-event glances, the others log-normal",
    )
    bots: float = option(
        0.001,
        "Share of users that are bots: items without any theme, every few seconds or around the clock",
    )
    bot_events: int = option(2_000, "Events of one bot")

    late: float = option(0.01, "Share of valid rows that stand one or two files after the file of their time")
    duplicates: float = option(0.005, "Rows written a second time, as a share of ``events``")
    malformed: float = option(
        0.005,
        "Rows that a reader must refuse, as a share of ``events``; on top of them, with ids of their own",
    )

    format: Format = option("csv", "How the events are written")
    ts_unit: TsUnit = option(
        "iso",
        "How times are written: ISO text with Z, or a count of the unit since 1970; whole seconds all",
    )
    gzip: bool = option(False, "Compress csv and jsonl files")
    files: int = option(
        0,
        "Time slices, oldest first, each written by every shard to its own file; 0: one a day",
    )

    shard_events: int = option(500_000, "Events that one process holds at a time; changes the draws")

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` that names the option and what it may be."""
        for name in ("events", "days", "themes", "items_per_theme", "themes_per_user", "bot_events",
                     "shard_events"):  # fmt: skip
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("users", "files", "seed"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("hop_probability", "jump", "off_theme", "theme_overlap", "shared_categories", "bots",
                     "late", "duplicates", "malformed"):  # fmt: skip
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        _require(1 < self.session_length <= 100, "session_length", self.session_length, "over 1, up to 100")
        _require(self.items_per_theme >= 8, "items_per_theme", self.items_per_theme, "at least 8")
        _require(self.format in FORMATS, "format", self.format, " | ".join(FORMATS))
        _require(self.ts_unit in TS_UNITS, "ts_unit", self.ts_unit, " | ".join(TS_UNITS))
        _require(self.chain in CHAINS, "chain", self.chain, " | ".join(CHAINS))
        _require(self.themes_per_user <= self.themes, "themes_per_user", self.themes_per_user,
                 f"at most themes ({self.themes})")  # fmt: skip
        _require(self.start.tzinfo is not None, "start", self.start, "a time with a zone")
        if self.gzip and self.format in ("parquet", "delta"):
            raise ConfigError(f"--gzip is for csv and jsonl; {self.format} files are compressed already")
        if self.n_users > self.events:
            raise ConfigError(
                f"--users {self.n_users} leaves some without an event; lower it or raise --events"
            )
        if self.n_bots * self.bot_events > self.events // 2:
            raise ConfigError(
                f"--bots {self.bots} makes {self.n_bots} bots of {self.bot_events} events, over half of all; "
                "lower --bots or raise --events"
            )
        if self.mean_sessions > self.most_sessions / 3:
            raise ConfigError(
                f"{self.mean_sessions:.0f} sessions per user do not fit {self.days} days; "
                "raise --users or --days"
            )

    @property
    def n_users(self) -> int:
        """People and bots."""
        sessions = min(SESSIONS_PER_USER, 4 * self.days)
        return self.users or max(1, math.ceil(self.events / (sessions * self.session_length)))

    @property
    def n_bots(self) -> int:
        """Bots among the users; at least one person stays."""
        return min(round(self.bots * self.n_users), self.n_users - 1)

    @property
    def mean_sessions(self) -> float:
        """Expected sessions of a person."""
        people_events = self.events - self.n_bots * self.bot_events
        return people_events / self.session_length / (self.n_users - self.n_bots)

    @property
    def most_sessions(self) -> int:
        """No person has more: the gaps between them then take at most half of the window."""
        return self.days * 24

    @property
    def shards(self) -> int:
        """Independent parts of the users; they follow from the settings, never from the workers."""
        return max(1, min(math.ceil(self.events / self.shard_events), self.n_users - self.n_bots))

    @property
    def slices(self) -> int:
        """Time slices."""
        return self.files or self.days

    @property
    def start_s(self) -> int:
        """Start of the window in seconds since 1970."""
        return int(self.start.timestamp())

    @property
    def end_s(self) -> int:
        """End of the window (exclusive) in seconds since 1970."""
        return self.start_s + self.days * 86_400


def share(total: int, shard: int, shards: int) -> int:
    """Part of ``total`` that falls to a shard; the parts add up to ``total`` and differ by at most 1."""
    return total * (shard + 1) // shards - total * shard // shards


def before(total: int, shard: int, shards: int) -> int:
    """What falls to the shards before this one."""
    return total * shard // shards


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"--{name.replace('_', '-')} is {value}; it must be {allowed}")
