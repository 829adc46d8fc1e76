"""Real logs fed a day a run, against one run over all of them with the same fit.

Long: `SEQLOOM_SHARED_DATA=DIR pytest tests/e2e/test_real_days.py -m slow -s`, DIR with taobao/ and globo/.
"""

import csv
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.build import BuildRequest, build
from tests.content import row_sums

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("spark"), pytest.mark.timeout(14400)]
ROOT = Path(__file__).parents[2]
LEARNED_DAYS = 3
"""The first of them make the first build, so that there is something to learn from."""


def days_of_taobao(log: Path, folder: Path) -> Iterator[Path]:
    """Files of the published columns, a day each; what lies outside the published days is put at the ends.

    The last line of the file is cut off: it is refused, on the last day.
    """
    with log.open(newline="") as lines:
        rows = list(csv.reader(lines))
    first = int(datetime(2017, 11, 25, tzinfo=UTC).timestamp())
    last = 8
    day = [
        min(max((int(row[4]) - first) // 86_400, 0), last) if len(row) == 5 and row[4] else last
        for row in rows
    ]
    for number in sorted(set(day)):
        path = folder / f"day-{number}.csv"
        with path.open("w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows(
                row for row, own in zip(rows, day, strict=True) if own == number
            )
        yield path


def days_of_globo(log: Path, folder: Path) -> Iterator[Path]:
    clicks = pq.read_table(log)
    day = pc.floor_temporal(pc.cast(clicks.column("click_timestamp"), pa.timestamp("ms")), unit="day")
    for number, own in enumerate(pc.unique(day).sort().to_pylist()):
        path = folder / f"day-{number:02}.parquet"
        pq.write_table(clicks.filter(pc.equal(day, pa.scalar(own, day.type))), path)
        yield path


@pytest.mark.parametrize("name", ["taobao", "globo"])
def test_days_equal_one_full_build(shared_data: Path, tmp_path: Path, name: str) -> None:
    data, config = shared_data / name, str(ROOT / "conf" / f"{name}.toml")
    more = [f"items.path={data / 'article_categories.parquet'}"] if name == "globo" else []
    log = data / {"taobao": "UserBehavior.csv", "globo": "clicks.parquet"}[name]
    cut = {"taobao": days_of_taobao, "globo": days_of_globo}[name]
    days = tmp_path / "days"
    days.mkdir()
    files = list(cut(log, days))
    first = tmp_path / "first"
    first.mkdir()
    for file in files[:LEARNED_DAYS]:
        file.rename(first / file.name)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    for source in (first, *files[LEARNED_DAYS:]):
        began = time.perf_counter()
        summary = build(BuildRequest(config, str(source), str(parts), set=more))
        seconds = time.perf_counter() - began
        print(
            f"{name} {source.name}: {summary['events_kept']:,} events, "
            f"{summary['rows_written']:,} gold rows written, {seconds:.0f} s", file=sys.stderr,
        )  # fmt: skip
        assert source == first or "made_anew" not in summary
    shutil.copytree(parts, whole)
    for file in files[LEARNED_DAYS:]:
        file.rename(first / file.name)
    summary = build(BuildRequest(config, str(first), str(whole), set=more, full_refresh=True, fit="frozen"))
    assert summary["made_anew"] == "--full-refresh"
    assert row_sums(parts) == row_sums(whole)
