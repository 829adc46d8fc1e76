"""An installed Chromium for tests that open pages; they skip, and say why, where there is none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 120

AXES = """() => [...document.querySelectorAll('.chart[id]')].map((chart) => ({
  id: chart.id,
  titles: [...chart.querySelectorAll('.role-axis-title text')].map((text) => text.textContent)}))"""
"""Every picture of a page, with the titles of its axes."""


def chromium() -> str:
    """The program of ``SEQLOOM_CHROMIUM``, else one on the path; else the test skips."""
    named = os.environ.get("SEQLOOM_CHROMIUM")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed; set SEQLOOM_CHROMIUM to one")
    return found


@contextmanager
def started() -> Iterator[Any]:
    """A headless browser."""
    program = chromium()
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no browser: {program} does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, and what it said and asked for."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> Iterator[Opened]:
    """The file in a window of this width and colour scheme, drawn to the end."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    found = Opened(page)
    page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.messages.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (found.messages.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(file.as_uri(), wait_until="commit")
    page.wait_for_selector("body[data-ready=yes]")
    yield found
    context.close()
