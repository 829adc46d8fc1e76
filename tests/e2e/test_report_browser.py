"""Reports in headless Chromium: quiet, alone, complete, by mouse and keyboard, readable, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import AXES, opened, started
from tests.e2e.reports import HOSTILE_USER, Reported
from tests.e2e.test_report import SECTIONS

KINDS = ("good", "failed", "toy")


@pytest.fixture(scope="module")
def browser(reported: Reported) -> Iterator[Any]:
    with started() as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_opens_from_disk_alone_and_quietly(browser: Any, reported: Reported, kind: str) -> None:
    """No message, no request but the file's own, every section, two axis titles on every picture."""
    file: Path = getattr(reported, kind)
    with opened(browser, file) as found:
        assert found.messages == []
        assert set(found.requests) <= {file.as_uri(), "data:,"}
        assert found.page.eval_on_selector_all("main > section", "all => all.map(one => one.id)") == list(
            SECTIONS
        )
        for chart in found.page.evaluate(AXES):
            assert len(set(chart["titles"])) >= 2, chart


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_report_is_accessible_and_fits(browser: Any, reported: Reported, width: int, scheme: str) -> None:
    """axe-core finds nothing, contrast included; nothing is wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    with opened(browser, reported.good, width, scheme) as found:
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width
        response = axe.Axe().run(found.page).response
        assert "color-contrast" in {one["id"] for one in response["passes"]}
        violations = response["violations"]
        told = [
            (one["id"], node["target"], node["any"][:1]) for one in violations for node in one["nodes"][:3]
        ]
        assert told == []


def test_the_explorer_answers_mouse_and_keyboard(browser: Any, reported: Reported) -> None:
    with opened(browser, reported.good) as found:
        page = found.page
        people = page.locator(".person")
        people.nth(1).click()
        assert page.inner_text("#who") == "User " + people.nth(1).inner_text()
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#who") == "User " + people.nth(2).inner_text()
        marks = page.locator(".mark")
        marks.nth(0).click()
        first = page.inner_text("#user-session")
        assert page.get_attribute(".mark[aria-pressed=true]", "data-session") == "1"
        page.keyboard.press("ArrowRight")
        assert page.get_attribute(".mark[aria-pressed=true]", "data-session") == "2"
        assert page.inner_text("#user-session") != first
        page.locator(".mark").nth(1).hover()
        assert "Theme" in page.inner_text("#tip")
        assert page.locator(".family").count() == 5
        assert found.messages == []


def test_figures_answer_mouse_and_keyboard(browser: Any, reported: Reported) -> None:
    with opened(browser, reported.good) as found:
        page = found.page
        page.locator("#session-events").focus()
        page.keyboard.press("ArrowRight")
        assert "Events in a session" in page.inner_text("#tip")
        first = page.inner_text("#tip")
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#tip") != first
        page.keyboard.press("Escape")
        assert not page.is_visible("#tip")
        page.locator("#session-events svg path[aria-label]").first.hover()
        assert page.is_visible("#tip")


def test_the_theme_can_be_switched(browser: Any, reported: Reported) -> None:
    with opened(browser, reported.toy, scheme="light") as found:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = found.page.evaluate(ground)
        found.page.click("#theme")
        found.page.click("#theme")
        assert found.page.inner_text("#theme") == "Theme: dark"
        assert found.page.evaluate(ground) != light


def test_hostile_names_are_shown_as_text(browser: Any, reported: Reported) -> None:
    with opened(browser, reported.good) as found:
        assert found.page.get_by_text(HOSTILE_USER, exact=True).count() >= 1
        found.page.get_by_role("button", name=HOSTILE_USER, exact=True).click()
        assert found.page.inner_text("#who") == "User " + HOSTILE_USER
        assert found.page.locator("img").count() == 0
        assert found.messages == []
