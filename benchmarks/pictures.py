"""The README's pictures: parts of the reports that `make demo` left, as PNG files.

    make pictures                                             # after make demo; needs Chromium
    python benchmarks/pictures.py --demo demo --out .ci/pictures

Each is what a reader sees who opens the reports in a window 1,000 pixels wide.
"""

import argparse
import sys
from pathlib import Path
from shutil import which
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser import NAMES, opened

WIDTH: Final = 1000


class Part(NamedTuple):
    """An element of a report, and the picture's name."""

    report: str  # under the demo's folder
    selector: str
    name: str


PARTS: Final = (
    Part("warehouse/reports/build.html", "figure:has(#hopping-evidence)", "hopping"),
    Part("warehouse/reports/build.html", "#explorer", "explorer"),
    Part("warehouse/reports/build.html", "figure:has(#theme-map)", "themes"),
    Part("runs/mos/report.html", "#controls figure", "models"),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    parser.add_argument("--out", type=Path, default=Path(".ci/pictures"), metavar="DIR")
    parser.add_argument("--chromium", metavar="FILE", help="default: the one on the path")
    given = parser.parse_args()
    missing = [part.report for part in PARTS if not (given.demo / part.report).is_file()]
    if missing:
        parser.error(f"{given.demo / missing[0]} is not there; run `make demo` first")
    given.out.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    program = given.chromium or _chromium(parser)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for part in PARTS:
            path = given.out / f"{part.name}.png"
            _take(browser, given.demo / part.report, part.selector, path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB", file=sys.stderr)
        browser.close()
    return 0


def _chromium(parser: argparse.ArgumentParser) -> str:
    found = next((path for name in NAMES if (path := which(name))), None)
    if found is None:
        parser.error("no Chromium on the path; install one, or pass --chromium FILE")
    return found


def _take(browser: Any, report: Path, selector: str, out: Path) -> None:
    with opened(browser, report.resolve(), WIDTH) as found:
        # The navigation stays at the top of the window, and would lie over the picture.
        found.page.evaluate("document.querySelector('nav').style.position = 'static'")
        found.page.locator(selector).first.screenshot(path=str(out))


if __name__ == "__main__":
    sys.exit(main())
