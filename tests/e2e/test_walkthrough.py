"""Whoever has only the README goes from a published column layout to sequences with one config file.

The files are written here by the layouts that RetailRocket and REES46 publish; the config is the README's
own text.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from pyspark.sql import SparkSession

from pipelines.build import BuildRequest, build
from pipelines.config import load_config
from pipelines.reading import read_published_table

ROOT = Path(__file__).resolve().parents[2]
SECTION = "### A profile for a new log"
START = 1_433_221_332_117  # ms, the time of RetailRocket's first line
GAP_MS = 30 * 60_000


class Click(NamedTuple):
    ms: int
    user: int
    kind: str  # view, cart or purchase
    item: int


@pytest.fixture(scope="module")
def clicks() -> list[Click]:
    """40 users of 3 to 6 visits, each to one of four themes of 30 items."""
    random, found = Random(5), []
    for user in range(40):
        ms = START + random.randrange(2 * 86_400_000)
        for _ in range(random.randint(3, 6)):
            theme = random.choice([user % 4, (user + 1) % 4])
            for _ in range(random.randint(2, 6)):
                item = 1000 * theme + random.randrange(30)
                found.append(Click(ms, user, random.choice(["view"] * 6 + ["cart", "purchase"]), item))
                ms += random.randrange(5_000, GAP_MS)
            ms += random.randrange(2 * GAP_MS, 86_400_000)
    random.shuffle(found)
    return found


def sessions(clicks: list[Click], unit_ms: int) -> int:
    """How many there are by the README's rule: a gap longer than 30 minutes cuts, an equal one does not."""
    count, last = 0, dict[int, int]()
    for click in sorted(clicks):
        ms = click.ms // unit_ms * unit_ms
        count += click.user not in last or ms - last[click.user] > GAP_MS
        last[click.user] = ms
    return count


def blocks(language: str) -> Iterator[str]:
    """The code blocks of a language in the README's section."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    parts = text[text.index(SECTION) :].split("\n### ")[0].split("```")
    for block in parts[1::2]:  # between fences
        name, _, code = block.partition("\n")
        if name == language:
            yield code


def profile(name: str) -> str:
    """The profile of the README's section that the file ``conf/NAME.toml`` ships."""
    (found,) = (block for block in blocks("toml") if f'"warehouse/{name}"' in block)
    return found


def built(spark: SparkSession, folder: Path, name: str, source: Path) -> Mapping[str, Any]:
    """A build by the README's profile; small files have few windows to judge distances by."""
    config = folder / "profile.toml"
    config.write_text(profile(name), encoding="utf-8")
    return build(BuildRequest(str(config), str(source), str(folder / "warehouse")))


@pytest.mark.parametrize("name", ["retailrocket", "rees46"])
def test_the_readme_shows_the_profile_that_ships(name: str) -> None:
    assert tomllib.loads(profile(name)) == tomllib.loads((ROOT / "conf" / f"{name}.toml").read_text())
    assert load_config(ROOT / "conf" / f"{name}.toml").warehouse == f"warehouse/{name}"


def test_the_commands_name_files_and_options_that_are_there() -> None:
    commands = [line for block in blocks("") for line in block.splitlines() if "jobs/" in line]
    assert len(commands) == 3
    for file in {word for line in commands for word in re.findall(r"(?:jobs|conf)/\S+", line)}:
        assert (ROOT / file).is_file(), file
    job = (ROOT / "jobs" / "build_sequences.py").read_text() + (ROOT / "jobs" / "status.py").read_text()
    assert all(option in job for line in commands for option in re.findall(r"--[a-z-]+", line))


def test_retailrocket_by_its_published_columns(
    spark: SparkSession, tmp_path: Path, clicks: list[Click]
) -> None:
    theirs = {"view": "view", "cart": "addtocart", "purchase": "transaction"}
    lines = ["timestamp,visitorid,event,itemid,transactionid"]
    for number, click in enumerate(clicks):
        transaction = number if click.kind == "purchase" else ""
        lines.append(f"{click.ms},{click.user},{theirs[click.kind]},{click.item},{transaction}")
    source = tmp_path / "events.csv"
    source.write_text("\n".join(lines) + "\n")
    assert lines[0] in (ROOT / "README.md").read_text()

    summary = built(spark, tmp_path, "retailrocket", source)
    _check(summary, tmp_path / "warehouse", clicks, 1)
    types = read_published_table(str(tmp_path / "warehouse"), "silver/event_types").column("id").to_pylist()
    assert sorted(types) == sorted(theirs.values())


@pytest.mark.slow
def test_rees46_by_its_published_columns(spark: SparkSession, tmp_path: Path, clicks: list[Click]) -> None:
    header = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
    lines = [header]
    for click in clicks:
        at = datetime.fromtimestamp(click.ms // 1000, UTC)
        category = 2053013552326770905 + click.item // 1000  # 19 digits: must not pass through a float
        row = [f"{at:%Y-%m-%d %H:%M:%S} UTC", click.kind, click.item, category, "electronics.clocks", ""]
        lines.append(",".join(map(str, [*row, "35.79", click.user, f"session-{click.user}"])))
    source = tmp_path / "2019-Oct.csv"
    source.write_text("\n".join(lines) + "\n")
    assert header in (ROOT / "README.md").read_text()

    _check(built(spark, tmp_path, "rees46", source), tmp_path / "warehouse", clicks, 1000)
    categories = (
        read_published_table(str(tmp_path / "warehouse"), "silver/categories").column("id").to_pylist()
    )
    assert sorted(categories) == [str(2053013552326770905 + theme) for theme in range(4)]


def _check(summary: Mapping[str, Any], warehouse: Path, clicks: list[Click], unit_ms: int) -> None:
    """Events, users and sessions are those of the file, and there is a sequence for every user."""
    distinct = {(click.ms // unit_ms, click.user, click.kind, click.item) for click in clicks}
    assert summary["events_in"] == len(clicks) and summary["rejected"] == {}
    assert summary["events_kept"] == len(distinct)
    assert summary["sessions"] == sessions(clicks, unit_ms)
    assert all(summary["gates"].values())
    rows = read_published_table(str(warehouse), "gold/user_sequences", ["user_id", "length"])
    assert set(rows.column("user_id").to_pylist()) == {str(click.user) for click in clicks}
    assert sum(rows.column("length").to_pylist()) >= len(distinct)
