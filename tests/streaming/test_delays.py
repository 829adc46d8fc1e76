"""Delays weigh as the rows that they stand for; names and positions of streams."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.pointer import Published, move_pointer, published
from pipelines.positions import Position, batch_id, built, is_stream, unbuilt
from pipelines.streaming.delays import Delays
from pipelines.streaming.request import StreamRequest, read_stream_config
from tests.streaming.cases import CONFIG

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_quantile_counts_rows_not_batches() -> None:
    delays = Delays()
    at = int(NOON.timestamp() * 1000)
    assert delays.quantile(0.5) is None and delays.to_text() == "no delay known"
    delays.add([at - 1000], 98, NOON)
    delays.add([at - 5000, at - 4000], 2, NOON)
    assert [delays.quantile(share) for share in (0.5, 0.98, 0.99, 1.0)] == [1.0, 1.0, 4.0, 5.0]
    assert delays.to_text() == "delay p50 1.0 s, p99 4.0 s"


def test_a_row_from_the_clocks_future_has_no_negative_delay() -> None:
    delays = Delays()
    delays.add([int(NOON.timestamp() * 1000) + 500], 1, NOON)
    assert delays.quantile(0.5) == 0.0


def test_positions_name_what_no_build_has_seen() -> None:
    position = Position(-1).after(0, 2, 1).after(11, 3, 0)
    streams = {"b": position, "a": Position(4, 4)}
    assert (position.duplicates, position.conflicts) == (5, 1)
    assert unbuilt(streams) == [("stream-b-000000000000", "stream-b-000000000011")]
    assert unbuilt(built(streams)) == [] and built(streams)["b"] == Position(11, 11)
    assert batch_id("b", 9) < batch_id("b", 10) and is_stream(batch_id("b", 9))
    assert not is_stream("20260101T000000-aa")


def test_a_pointer_keeps_positions(tmp_path: Path) -> None:
    first = move_pointer(str(tmp_path), Published("r", NOON, NOON, None, {}, "f", "{}", {}), None)
    assert published(str(tmp_path)) == first and first.streams == {}
    streams = {"clicks": Position(3, 1, 2)}
    new = Published("s", NOON, NOON, None, {}, "f", "{}", {}, built_by="r", streams=streams)
    second = move_pointer(str(tmp_path), new, first)
    assert published(str(tmp_path)) == second and second.streams == streams


def test_a_stream_is_known_by_its_folder_or_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is the same folder; Kafka's servers may change; a topic is a stream of its own."""
    (tmp_path / "c.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)

    def name(**given: str) -> str:
        request = StreamRequest("c.toml", **given)
        return request.name(read_stream_config(request))

    assert name(source="in/My Clicks") == name(source=f"{tmp_path}/in/My Clicks")
    assert name(source="in/My Clicks").startswith("my-clicks-")
    assert name(source="in/a") != name(source="in2/a")
    assert name(kafka="a:1", topic="clicks") == name(kafka="b:2,c:3", topic="clicks")
    assert name(kafka="a:1", topic="clicks") != name(kafka="a:1", topic="views")
