"""The kernels' rules from the job's configuration."""

from features.durations import parse_duration
from features.sessions import SessionRule
from features.users import UserRule
from pipelines.config import Config


def session_rule(config: Config) -> SessionRule:
    """The rule that cuts sessions."""
    sessions = config.sessions
    return SessionRule.parse(sessions.rule, sessions.gap, sessions.max, sessions.every_n)


def user_rule(config: Config) -> UserRule:
    """The rule that flags users."""
    users = config.users
    return UserRule(
        max_events=users.heavy_events,
        fast_gap_us=parse_duration(users.fast_gap),
        fast_gaps=users.fast_gaps,
        pause_us=parse_duration(users.pause),
        awake_us=parse_duration(users.awake),
        has_clock=config.source.clock == "real",
    )
