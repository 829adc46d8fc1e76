"""What a Parquet file holds of ids: its footer, and every column that can hold one, decoded."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.erasure.documents import Found, search_json, search_text
from pipelines.erasure.needles import Mode, Needles, column_mode
from pipelines.ingest.suppression import payload_texts

_SEVERAL_TOKENS: Final = "[^0-9A-Za-z_]"

Path = tuple[str, ...]


def search_parquet(file: BinaryIO, needles: Needles, is_log: bool) -> Found:
    """Place inside the file -> ids; ``is_log``: it is a checkpoint, where a number names no user."""
    parquet = pq.ParquetFile(file)
    found: Found = defaultdict(set)
    columns = [field.name for field in parquet.schema_arrow if _can_hold((field.name,), field.type)]
    for key, value in (parquet.metadata.metadata or {}).items():
        for text in (key, value):
            for place, ids in search_text(text.decode("utf-8", "replace"), needles).items():
                found[f"footer {place}"] |= ids
    for group in range(parquet.num_row_groups):
        _statistics(parquet.metadata.row_group(group), needles, is_log, found)
        table = parquet.read_row_group(group, columns=columns)
        for name, column in zip(table.column_names, table.columns, strict=True):
            for chunk in column.chunks:
                for path, leaf in leaves((name,), chunk):
                    ids = search_array(leaf, needles, _mode(path, is_log))
                    if ids:
                        found[f"column {'.'.join(path)}"] |= ids
    return found


def leaves(path: Path, array: pa.Array) -> Iterator[tuple[Path, pa.Array]]:
    """The arrays of plain values inside a nested one, each with the names on the way to it."""
    kind = array.type
    if isinstance(array, pa.DictionaryArray):
        yield from leaves(path, array.dictionary)
    elif pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            yield from leaves((*path, kind[place].name), array.field(place))
    elif pa.types.is_map(kind):
        yield from leaves((*path, "key"), array.keys)
        yield from leaves((*path, "value"), array.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from leaves(path, array.flatten())
    else:
        yield path, array


def _can_hold(path: Path, kind: pa.DataType) -> bool:
    """Whether a column's values can be ids: texts and bytes, and whole numbers that name users."""
    if pa.types.is_dictionary(kind):
        return _can_hold(path, kind.value_type)
    if pa.types.is_nested(kind):
        inner = [kind.field(place) for place in range(kind.num_fields)]
        return any(_can_hold((*path, field.name), field.type) for field in inner)
    if pa.types.is_integer(kind):
        return column_mode(path) is Mode.USER
    return not pa.types.is_temporal(kind) and not pa.types.is_floating(kind) and not pa.types.is_boolean(kind)


def search_array(array: pa.Array, needles: Needles, mode: Mode) -> set[str]:
    """The ids that an array of plain values holds; whole numbers count in columns that name users."""
    kind = array.type
    if pa.types.is_integer(kind) and mode is Mode.USER:
        texts = array.unique().cast(pa.string())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = array.unique()
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        plain = [
            None if one is None else one.decode("utf-8", "replace") for one in array.unique().to_pylist()
        ]
        texts = pa.array(plain, pa.string())
    else:
        return set()
    whole = pa.array(sorted(needles.wanted(mode)), texts.type)
    found = set(texts.filter(pc.is_in(texts, value_set=whole)).to_pylist())
    if mode is Mode.USER:
        return found
    if mode is not Mode.PAYLOAD:  # few values are more than one token, and only these need Python
        texts = texts.filter(pc.match_substring_regex(texts, _SEVERAL_TOKENS))
    for text in texts.drop_null().to_pylist():
        found |= _inside(text, needles, mode)
    return found


def _inside(text: str, needles: Needles, mode: Mode) -> set[str]:
    if mode is Mode.PAYLOAD:
        return {one for variant in payload_texts(text) for one in needles.find(variant, mode)}
    found = needles.find(text, mode)
    if text[:1] in "{[":
        found |= {one for ids in search_json(text, needles).values() for one in ids}
    return found


def _mode(path: Path, is_log: bool) -> Mode:
    mode = column_mode(path)
    return Mode.TEXT if is_log and mode is Mode.VALUE else mode


def _statistics(group: Any, needles: Needles, is_log: bool, found: Found) -> None:
    for place in range(group.num_columns):
        column = group.column(place)
        statistics = column.statistics
        if statistics is None or not statistics.has_min_max:
            continue
        path = tuple(column.path_in_schema.split("."))
        mode = _mode(path, is_log)
        for value in (statistics.min, statistics.max):
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            if isinstance(text, int) and mode is Mode.USER:
                text = str(text)
            ids = needles.find(text, mode) if isinstance(text, str) else set()
            if ids:
                found[f"statistics of {'.'.join(path)}"] |= ids
