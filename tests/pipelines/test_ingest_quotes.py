"""Joining physical lines into CSV records; no Spark."""

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest.quotes import MAX_LINES, join_batches, join_quoted


@pytest.mark.parametrize(
    ("lines", "records"),
    [
        (["1,a", "2,b"], ["1,a", "2,b"]),
        (['1,"a', 'b"', "2,c"], ['1,"a\nb"', "2,c"]),
        (['1,"a', "b", 'c"'], ['1,"a\nb\nc"']),
        (['1,"say ""hi', 'you"""'], ['1,"say ""hi\nyou"""']),
        # A quote inside an unquoted field opens nothing.
        (['1,5" pipe', "2,b", '3,6" pipe'], ['1,5" pipe', "2,b", '3,6" pipe']),
        # A quote that is never closed costs its own line only.
        (['1,"a', "2,b", "3,c"], ['1,"a', "2,b", "3,c"]),
        # Nor does it reach for the next quoted field.
        (['1,"a', "2,b", '3,"c"'], ['1,"a', "2,b", '3,"c"']),
        # An unclosed quote, then a record that does span lines.
        (['1,"a', "2,b", '3,"c', 'd"'], ['1,"a', "2,b", '3,"c\nd"']),
    ],
)
def test_examples(lines, records):
    joined = join_quoted([line.encode() for line in lines], ",", 2)
    assert [record.decode() for record in joined] == records


def test_an_open_quote_waits_for_a_bounded_number_of_lines():
    lines = [b'0,"open', *(b"%d,x" % n for n in range(MAX_LINES)), b'9,"'] * 2
    assert list(join_quoted(lines, ",", 2)) == lines


fields = st.text(alphabet='ab",\n ', max_size=6).map(lambda text: text.strip())


@given(st.lists(st.tuples(fields, fields, fields), max_size=12), st.integers(1, 5))
def test_what_a_csv_writer_writes_is_read_back(rows, batch_lines):
    rows = [("k", *row) for row in rows]  # no record is a blank line
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    lines = [line.encode() for line in text.getvalue().split("\n")[:-1]]
    expected = [record for row in rows for record in [row]]
    found = [tuple(next(csv.reader([r.decode()], strict=True))) for r in join_quoted(lines, ",", 4)]
    assert found == expected
    # Batches may cut a file anywhere, and hold several files.
    schema = pa.schema([("value", pa.binary()), ("file", pa.string())])
    table = pa.table({"value": lines * 2, "file": ["f"] * len(lines) + ["g"] * len(lines)}, schema)
    out = list(join_batches(table.to_batches(max_chunksize=batch_lines), ",", 4))
    values = [value for batch in out for value in batch["value"].to_pylist()]
    assert values == list(join_quoted(lines, ",", 4)) * 2
