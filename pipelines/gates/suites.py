"""The gates' checks: a name, a figure of ``pipelines.gates.metrics``, its bounds and the remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from features.checks import RULES
from pipelines.config.model import Gates


@dataclass(frozen=True)
class Check:
    """A figure and its bounds, both inclusive; ``meaning`` says what holds, ``remedy`` what to do."""

    name: str
    metric: str
    meaning: str
    remedy: str
    minimum: float | None = None
    maximum: float | None = None


_REPORT: Final = "a defect of the build, not of the data: keep the run's output and report it"
_REBUILD: Final = "the table was changed by something else: rebuild it with --full-refresh"
_LOOK: Final = "see bronze/events_rejected by reason"


def _none(name: str, metric: str, meaning: str, remedy: str = _REPORT) -> Check:
    """A check that a count, or a difference of two counts, is 0."""
    return Check(name, metric, meaning, remedy, minimum=0, maximum=0)


def bronze_checks(gates: Gates) -> list[Check]:
    """Conservation of rows, keys and times of ``bronze/events``."""
    nulls = [
        _none(f"no_null_{name}", f"null_{name}", f"every event has a {name}", _REBUILD)
        for name in ("event_id", "user_id", "item_id", "ts")
    ]
    return [
        _none("rows_conserved", "rows_unaccounted", "rows in = kept + duplicates + rejected"),
        _none("kept_rows_stored", "kept_not_stored", "every kept row is in bronze/events"),
        _none(
            "rejected_rows_stored", "rejected_not_stored", "every refused row is in bronze/events_rejected"
        ),
        _none("event_ids_unique", "repeated_event_ids", "an event id occurs once", _REBUILD),
        *nulls,
        _none("ts_in_window", "outside_window", "every ts lies in source.window", _REBUILD),
        Check(
            "rejected_share",
            "rejected_share",
            "share of rows that were refused",
            f"{_LOOK}, mend the source or its mapping, or raise gates.max_rejected_share",
            maximum=gates.max_rejected_share,
        ),
        Check(
            "enough_events",
            "rows_valid",
            "events kept or known before",
            f"check that the source is complete ({_LOOK}), or lower gates.min_events",
            minimum=gates.min_events,
        ),
    ]


def vocabulary_checks(names: Sequence[str]) -> list[Check]:
    """Keys of the ``(id, index)`` tables measured under these names."""
    checks = []
    for name in names:
        checks += [
            _none(f"{name}_complete", f"{name}_nulls", f"silver/{name} has no empty cell", _REBUILD),
            _none(f"{name}_ids_unique", f"{name}_repeated_ids", "an id has one index", _REBUILD),
            _none(f"{name}_indices_unique", f"{name}_repeated_indices", "an index has one id", _REBUILD),
            _none(
                f"{name}_indices_dense", f"{name}_index_gaps", "n ids hold the indices 2 to n + 1", _REBUILD
            ),
        ]
    return checks


def sessions_checks(gates: Gates) -> list[Check]:
    """Keys, order, sums and coverage of ``silver/sessions``."""
    return [
        _none("session_ids_unique", "repeated_session_ids", "a session id occurs once"),
        _none("ordinals_dense", "broken_ordinals", "a user's sessions are numbered 1, 2, 3, …"),
        _none("start_before_end", "end_before_start", "start_ts ≤ end_ts"),
        _none("sessions_before_as_of", "at_or_after_as_of", "every session ends before as_of"),
        _none("sessions_not_empty", "empty_sessions", "a session has an event"),
        _none("events_conserved", "events_missing", "n_events sums to the events before as_of"),
        _none(
            "users_conserved", "users_missing", "every user with an event before as_of has a first session"
        ),
        _none("mode_counts_add_up", "mode_counts_off", "mode counts sum to n_events"),
        _none("vector_counts_add_up", "vector_counts_off", "vectors by source sum to n_events"),
        _none("themes_known", "unknown_themes", "theme_id is 1 or a theme of the fit"),
        _none("hops_have_p", "hops_without_p", "a decided hop has its p-value"),
        _none("returns_decided", "returns_off", "is_return is decided exactly where is_hop is"),
        Check(
            "vector_coverage",
            "vector_coverage",
            "share of events with an item's or a category's vector",
            "learn again with --fit refit, map categories, or lower gates.min_vector_coverage",
            minimum=gates.min_vector_coverage,
        ),
        Check(
            "undecided_share",
            "undecided_share",
            "share of sessions whose hop is undecided",
            "give the fit more sessions, raise hops.alpha, or raise gates.max_undecided_share",
            maximum=gates.max_undecided_share,
        ),
    ]


def gold_checks(gates: Gates) -> list[Check]:
    """The tensor contract of ``gold/user_sequences``."""
    return [
        *(_none(rule, f"broken_{rule}", meaning) for rule, meaning in RULES.items()),
        _none("chunks_dense", "broken_chunks", "(user, chunk) is unique and a user's chunks are 0, 1, 2, …"),
        _none("targets_chained", "broken_target_chain", "a chunk's targets begin where the last chunk's end"),
        _none("targets_conserved", "targets_missing", "every event with an earlier one is a target once"),
        _none("users_conserved", "users_missing", "every user with an event before as_of has a row"),
        Check(
            "unknown_item_share",
            "unknown_item_share",
            "share of places whose item has no index",
            "rebuild with --full-refresh so that silver/items grows, or raise gates.max_unknown_item_share",
            maximum=gates.max_unknown_item_share,
        ),
    ]


def drift_checks(gates: Gates) -> list[Check]:
    """Changes since the last published run; a threshold that is not set is not checked."""
    remedy = "compare the source with the last run's; if the change is real, raise gates.{} once"
    checks = [
        Check(
            "mode_mix",
            "mode_drift",
            "total variation of the mode mix since the last published run",
            remedy.format("max_mode_drift"),
            maximum=gates.max_mode_drift,
        )
    ]
    if gates.max_count_drift is not None:
        for part in ("events", "sessions"):
            checks.append(
                Check(
                    f"{part}_per_user",
                    f"{part}_per_user_change",
                    f"relative change of {part} per user since the last published run",
                    remedy.format("max_count_drift"),
                    maximum=gates.max_count_drift,
                )
            )
    return checks
