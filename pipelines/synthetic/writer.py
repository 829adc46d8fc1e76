"""Rows to files: csv, jsonl, parquet (delta is parquet with a log on top), and the truth beside them."""

import gzip
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipelines.synthetic.corrupt import COLUMNS, Rows, event_ids, user_ids
from pipelines.synthetic.history import NONE, Ints, returns, within
from pipelines.synthetic.settings import Settings
from pipelines.synthetic.users import Shard
from pipelines.synthetic.world import World

HEADER = ",".join(COLUMNS).encode() + b"\n"


def write_rows(settings: Settings, rows: Rows, shard: int, folder: Path) -> int:
    """Write each time slice's rows to its file; returns the number of files."""
    bounds = np.searchsorted(rows.file, np.arange(settings.slices + 1))
    written = 0
    for number, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        if begin == end:
            continue
        table = rows.table.slice(begin, end - begin)
        stem = f"slice-{number:04d}-shard-{shard:04d}"
        if settings.format in ("parquet", "delta"):
            pq.write_table(table, folder / f"{stem}.parquet", compression="zstd")
        else:
            data = _text(settings, table, rows.truncated.slice(begin, end - begin))
            if settings.gzip:
                data = gzip.compress(data, compresslevel=3, mtime=0)
            name = f"{stem}.{settings.format}" + (".gz" if settings.gzip else "")
            (folder / name).write_bytes(data)
        written += 1
    return written


def write_truth(settings: Settings, world: World, shard: int, truth: Shard, folder: Path) -> dict[str, int]:
    """Write a shard's true sessions and events; returns their counts."""
    events, sessions = truth
    begin = np.cumsum(sessions.size) - sessions.size
    hop, is_return, lag = returns(sessions.user, sessions.theme)
    bot = sessions.theme == NONE
    unknown = bot | (sessions.ordinal == 1)  # nothing to hop from
    table = pa.table({
        "user_id": pa.array(user_ids(sessions.user)).cast(pa.string()),
        "ordinal": pa.array(sessions.ordinal, pa.int32()),
        "start": _instant(events.ts[begin]),
        "end": _instant(events.ts[begin + sessions.size - 1]),
        "n_events": pa.array(sessions.size, pa.int32()),
        "theme": pa.array(sessions.theme, pa.int32(), mask=bot),
        "is_hop": pa.array(hop, mask=unknown),
        "is_return": pa.array(is_return, mask=unknown),
        "return_lag": pa.array(lag, pa.int32(), mask=~is_return),
        "is_bot": pa.array(bot),
    })  # fmt: skip
    _truth_file(table, folder / "sessions.parquet", shard)
    per_user = np.unique(events.user, return_counts=True)[1]
    theme = sessions.theme[events.session]
    table = pa.table({
        "event_id": pa.array(event_ids(settings, shard, len(events.ts))).cast(pa.string()),
        "user_id": pa.array(user_ids(events.user)).cast(pa.string()),
        "ordinal": pa.array(within(per_user) + 1, pa.int32()),
        "session": pa.array(sessions.ordinal[events.session], pa.int32()),
        "theme": pa.array(theme, pa.int32(), mask=theme == NONE),
        "off_theme": pa.array(events.off_theme),
    })  # fmt: skip
    _truth_file(table, folder / "events.parquet", shard)
    return {"events": len(events.ts), "sessions": len(begin), "hops": int((hop & ~bot).sum()),
            "returns": int((is_return & ~bot).sum())}  # fmt: skip


def write_items(world: World, folder: Path) -> None:
    """Write every item with its category and the themes whose chains hold it."""
    themes, places = world.chain.shape
    pairs = np.unique(np.stack([world.chain.ravel(), np.repeat(np.arange(themes), places)]), axis=1)
    item, count = np.unique(pairs[0], return_counts=True)
    offsets = np.r_[0, np.cumsum(count)].astype(np.int32)
    table = pa.table({
        "item_id": pa.array(world.item_id[item]).cast(pa.string()),
        "category_id": pa.array(world.item_category[item]).cast(pa.string()),
        "themes": pa.ListArray.from_arrays(pa.array(offsets), pa.array(pairs[1], pa.int32())),
    })  # fmt: skip
    _truth_file(table, folder / "items.parquet", 0)


def _truth_file(table: pa.Table, folder: Path, shard: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"part-{shard:04d}.parquet", compression="zstd")


def _instant(seconds: Ints) -> pa.Array:
    return pa.array(seconds * 1_000_000).cast(pa.timestamp("us", tz="UTC"))


def _text(settings: Settings, table: pa.Table, truncated: pa.Array) -> bytes:
    """The bytes of a text file: whole lines, then the cut-off ones, the last without its line break."""
    to_lines = _csv_lines if settings.format == "csv" else _json_lines
    whole = to_lines(table.filter(pc.invert(truncated)), settings.ts_unit != "iso")
    cut_off = to_lines(table.filter(truncated), settings.ts_unit != "iso").splitlines()
    head = HEADER if settings.format == "csv" else b""
    return head + whole + b"\n".join(line[: len(line) // 2] for line in cut_off)


def _csv_lines(table: pa.Table, _numbers: bool) -> bytes:
    sink = pa.BufferOutputStream()
    options = pacsv.WriteOptions(include_header=False, batch_size=65_536, quoting_style="none")
    pacsv.write_csv(table, cast(BinaryIO, sink), options)
    return cast(bytes, sink.getvalue().to_pybytes())


def _json_lines(table: pa.Table, numbers: bool) -> bytes:
    """One object a line. Ids hold nothing that JSON would escape, so joining text is enough, and fast."""
    parts: list[object] = []
    for i, name in enumerate(COLUMNS):
        column = table[name].combine_chunks()
        if not (name == "ts" and numbers):
            column = pc.binary_join_element_wise('"', column, '"', "")
        else:
            readable = pc.match_substring_regex(column, "^[0-9]+$")
            column = pc.if_else(readable, column, pc.binary_join_element_wise('"', column, '"', ""))
        parts += ["{" if i == 0 else ",", f'"{name}":', pc.fill_null(column, "null")]
    lines = pc.binary_join_element_wise(*parts, "}\n", "")
    if len(lines) == 0:
        return b""
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return cast(bytes, lines.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])).to_pybytes())
