"""Why a record is refused; where several apply, the first of this order is kept."""

from typing import Final

from pipelines.ingest.records import BAD_ENCODING, BROKEN_JSON, WRONG_FIELD_COUNT

ERASED: Final = "erased"
MISSING_USER_ID: Final = "missing_user_id"
MISSING_ITEM_ID: Final = "missing_item_id"
MISSING_EVENT_ID: Final = "missing_event_id"
MISSING_TS: Final = "missing_ts"
BAD_TS: Final = "bad_ts"
FUTURE: Final = "future"
LATE: Final = "late"
OUT_OF_WINDOW: Final = "out_of_window"
UNKNOWN_EVENT_TYPE: Final = "unknown_event_type"
BAD_SEQUENCE: Final = "bad_sequence"
MISSING_SESSION_KEY: Final = "missing_session_key"

REASONS: Final[dict[str, str]] = {
    ERASED: "the record is of, or names, a user who was erased (its payload is not kept)",
    BAD_ENCODING: "the line is not UTF-8 (its payload is kept as 0x and hex)",
    WRONG_FIELD_COUNT: "the line has fewer or more fields than there are columns",
    BROKEN_JSON: "the line is not a JSON object",
    MISSING_USER_ID: "the user id is null or blank",
    MISSING_ITEM_ID: "the item id is null or blank",
    MISSING_EVENT_ID: "the source maps an event id and it is null or blank",
    MISSING_TS: "the time is null or blank",
    BAD_TS: "the time cannot be read, lies before 1970 or after 9999",
    FUTURE: "the time is later than ingested_at + ingest.max_clock_skew",
    LATE: "a new event, older than the published watermark by more than ingest.allowed_lateness",
    OUT_OF_WINDOW: "the time lies outside source.window",
    UNKNOWN_EVENT_TYPE: "the event type is not listed in source.event_types",
    BAD_SEQUENCE: "the source sequence is not a 64-bit integer",
    MISSING_SESSION_KEY: "sessions.rule is source_key and the session key is null or blank",
}
