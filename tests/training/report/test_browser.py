"""The model report in headless Chromium: quiet, alone, accessible, wide and narrow, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import AXES, opened, started
from tests.training.report.conftest import Fit
from training.report.__main__ import main


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def report(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    words = ["--run", str(fit("mos")), "--control", str(fit("sasrec")), "--control", str(fit("cmsl"))]
    assert main([*words, "--out", str(out)]) == 0
    return out


def test_it_opens_from_disk_alone_and_quietly(browser: Any, report: Path) -> None:
    with opened(browser, report) as found:
        assert found.messages == []
        assert set(found.requests) <= {report.as_uri(), "data:,"}
        charts = found.page.evaluate(AXES)
        assert len(charts) >= 5
        for chart in charts:
            assert len(set(chart["titles"])) >= 2, chart


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
def test_it_is_accessible_and_fits(browser: Any, report: Path, width: int, scheme: str) -> None:
    """axe-core finds nothing, contrast included; nothing is wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    with opened(browser, report, width, scheme) as found:
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width
        violations = axe.Axe().run(found.page).response["violations"]
        assert [
            (one["id"], node["target"], node["any"][:1]) for one in violations for node in one["nodes"][:3]
        ] == []


def test_values_are_read_out_by_keys(browser: Any, report: Path) -> None:
    with opened(browser, report) as found:
        found.page.focus("#ranks-figure")
        found.page.keyboard.press("ArrowRight")
        assert "Within the first" in found.page.inner_text("#tip")
