"""Reports and erasure, failures before the first publication, and the pieces that need no tables."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.page.html import json_script
from features.page.shell import page
from pipelines.erasure.needles import Needles
from pipelines.erasure.scan import scan
from pipelines.erasure.texts import remove_reports
from pipelines.errors import ConfigError, WarehouseError
from pipelines.report.__main__ import main
from pipelines.report.write import write_report
from pipelines.runs import RunRecord, record_run

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_run_that_failed_before_anything_was_published_is_told(tmp_path: Path) -> None:
    """The reason stands at the top; every section says that it has nothing yet."""
    error = "events.csv: no column <b>ts</b>; map it with source.columns.ts"
    record_run(str(tmp_path), RunRecord("run-1", "failed", NOW, NOW, '{"gates": {}}', "f", error=error))
    text = write_report(str(tmp_path)).read_text(encoding="utf-8")
    top = text[text.index("<main") : text.index("<section")]
    assert "The last run failed" in top
    assert "no column &lt;b&gt;ts&lt;/b&gt;" in top
    assert text.count("<section") == 13


def test_what_is_no_warehouse_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WarehouseError, match="not a warehouse"):
        write_report(str(tmp_path))
    assert main(["--warehouse", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(ConfigError, match="on a file system"):
        write_report("s3://bucket/warehouse")


def test_erasure_sees_a_report_and_leaves_none(tmp_path: Path) -> None:
    """A numeric id counts in the explorer's data; a page of ours goes as a whole: histories need no id."""
    report = tmp_path / "reports" / "build.html"
    report.parent.mkdir()
    data = json_script("histories", {"users": [{"user_id": "815", "why": "38 events"}]})
    report.write_text(page("815", "", [], runtime="", footer=data))
    (tmp_path / "reports" / "mine.html").write_text("<p>of someone else</p>")
    assert [place.ids for place in scan(tmp_path, Needles(["815"]))] == [{"815"}]
    assert remove_reports(tmp_path) == ["reports/build.html"]
    assert list(scan(tmp_path, Needles(["815"]))) == []
    assert remove_reports(tmp_path) == []
