"""What every section of a configuration is made of, whichever command it is for."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from features.durations import parse_duration


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _utc(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a time; write 2017-12-01 or 2017-12-01T08:00:00Z") from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    elif not isinstance(value, datetime) and value is not None:
        raise ValueError(f"{value!r} is not a time; write 2017-12-01 or 2017-12-01T08:00:00Z")
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


Duration = Annotated[str, AfterValidator(_duration)]
Instant = Annotated[datetime, BeforeValidator(_utc)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A frozen section that knows its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)
