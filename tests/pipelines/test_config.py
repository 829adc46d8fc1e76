"""The configuration: what a file may say, and the one line that a wrong one is answered with."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.spec import SequenceSpec
from pipelines.config import load_config
from pipelines.config.model import Config
from pipelines.errors import ConfigError

SOURCE = 'path = "a.csv"\nformat = "csv"\n'
COLUMNS = '[source.columns]\nuser_id = "u"\nitem_id = "i"\nts = "t"\n'
BASE = f"[source]\n{SOURCE}{COLUMNS}"


def load(folder: Path, text: str, *overrides: str) -> Config:
    file = folder / "my.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, overrides)


def test_everything_but_the_source_has_a_default(tmp_path: Path) -> None:
    config = load(tmp_path, BASE)
    assert (config.sessions.rule, config.sessions.gap, config.sessions.max) == ("gap", "30min", "24h")
    assert config.source.unlisted_event_type == "reject"
    assert config.sequences.spec() == SequenceSpec()
    assert config.items is None


def test_times_are_utc_in_every_spelling(tmp_path: Path) -> None:
    noon = datetime(2020, 1, 1, tzinfo=UTC)
    spellings = ['"2020-01-01"', "2020-01-01", "2020-01-01T00:00:00Z", '"2020-01-01T08:00:00+08:00"']
    for text in spellings:
        assert load(tmp_path, f"{BASE}[fit]\ntrain_end = {text}\n").fit.train_end == noon
    window = load(tmp_path, f'{BASE}[source.window]\nstart = 2020-01-01\nend = "2020-02-01"\n').source.window
    assert window.start == noon


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("sessions.gap=1h", lambda c: c.sessions.gap == "1h"),
        ('sessions.gap="1h"', lambda c: c.sessions.gap == "1h"),
        ("hops.alpha=0.2", lambda c: c.hops.alpha == 0.2),
        ("themes.count=12", lambda c: c.themes.count == 12),
        ("themes.count=auto", lambda c: c.themes.count == "auto"),
        ("warehouse=/srv/w=1", lambda c: c.warehouse == "/srv/w=1"),
        ("source.header=true", lambda c: c.source.header is True),
        ("source.columns.event_id=id", lambda c: c.source.columns.event_id == "id"),
        ("sequences.families.theme.length=7", lambda c: c.sequences.families["theme"].length == 7),
        ("spark.settings.spark.sql.ansi.enabled=true",
         lambda c: c.spark.settings == {"spark.sql.ansi.enabled": "true"}),
    ],
)  # fmt: skip
def test_overrides_are_toml_or_plain_text(override: str, read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    families = "[sequences.families]\nrecent = {length = 100}\ntheme = {strands = 2, length = 9}\n"
    assert read(load(tmp_path, BASE + families, override))


def test_overrides_win_over_the_file_and_the_last_one_wins(tmp_path: Path) -> None:
    text = f'{BASE}[sessions]\ngap = "10min"\n'
    assert load(tmp_path, text, "sessions.gap=20min", "sessions.gap=40min").sessions.gap == "40min"


ORDINAL = f'[source]\n{SOURCE}clock = "ordinal"\n{COLUMNS}'
HEADERLESS = f"[source]\n{SOURCE}header = false\n"
WRONG: dict[str, tuple[str, str]] = {
    "section misspelt": (BASE + "[sesions]\ngap = '1h'", "unknown key sesions; did you mean sessions?"),
    "key misspelt": (
        BASE + "[sessions]\ngapp = '1h'",
        "unknown key sessions.gapp; did you mean sessions.gap?",
    ),
    "column misspelt": (
        BASE + "category = 'c'",
        "unknown key source.columns.category; did you mean source.columns.category_id?",
    ),
    "family misspelt": (
        BASE + "[sequences.families.recnt]\nlength = 3",
        "unknown key sequences.families.recnt; did you mean sequences.families.recent?",
    ),
    "family's key misspelt": (
        BASE + "[sequences.families.theme]\nlength = 3\nstrnds = 2",
        "unknown key sequences.families.theme.strnds; did you mean sequences.families.theme.strands?",
    ),
    "key below a section": (
        BASE + "warehouse = 'w'",
        "unknown key source.columns.warehouse; did you mean warehouse, above the first [section]?",
    ),
    "key of another section": (
        BASE + "[sessions]\nalpha = 0.1",
        "unknown key sessions.alpha; did you mean hops.alpha?",
    ),
    "nothing near": (
        BASE + "[fit]\nzzz = 1",
        "unknown key fit.zzz; known keys: train_end, train_share",
    ),
    "typo before the hole it leaves": (
        BASE.replace("[source]", "[sourc]").replace("[source.", "[sourc."),
        "unknown key sourc; did you mean source?",
    ),
    "no source": ("", "missing section [source]; add it to the config"),
    "no user": (
        BASE.replace('user_id = "u"\n', ""),
        "missing key source.columns.user_id; add it to the config",
    ),
    "no TOML": (
        "[source\n",
        "not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 8)",
    ),
    "bare number": (
        BASE + "[sessions]\ngap = 30",
        'sessions.gap: must be text in quotes, not 30; such as gap = "30min"',
    ),
    "no unit": (
        BASE + "[sessions]\ngap = '30'",
        "sessions.gap: '30' is not a duration; write a number and a unit, such as '30min' or '24h'",
    ),
    "zero": (BASE + "[sessions]\ngap = '0s'", "sessions.gap: '0s' must be longer than zero"),
    "choice": (
        BASE + "[sessions]\nrule = 'gaps'",
        "sessions.rule: must be 'gap', 'every_n' or 'source_key', not 'gaps'",
    ),
    "mode": (
        BASE + "event_type = 'e'\n[source.event_types]\npv = 'look'",
        "source.event_types.pv: must be 'browse', 'intent', 'purchase' or 'feedback', not 'look'",
    ),
    "format": (
        BASE.replace('"csv"', '"xml"'),
        "source.format: must be 'csv', 'jsonl', 'parquet' or 'delta', not 'xml'",
    ),
    "either of two types": (
        BASE + "[themes]\ncount = 'many'",
        "themes.count: must be a whole number or 'auto', not 'many'",
    ),
    "too small": (BASE + "[themes]\ncount = 1", "themes.count: must be at least 2 or 'auto', not 1"),
    "too large": (
        BASE + "[gates]\nmax_rejected_share = 5",
        "gates.max_rejected_share: must be at most 1.0, not 5",
    ),
    "no boolean": (
        BASE.replace('csv"\n[', "csv\"\nheader = 'maybe'\n["),
        "source.header: must be true or false, not 'maybe'",
    ),
    "value for a section": (
        "sessions = 3\n" + BASE,
        "sessions is a section, not a value; write [sessions] and its keys below it",
    ),
    "no time": (
        BASE + "[fit]\ntrain_end = 'tomorrow'",
        "fit.train_end: 'tomorrow' is not a time; write 2017-12-01 or 2017-12-01T08:00:00Z",
    ),
    "number as time": (
        BASE + "[fit]\ntrain_end = 1511544070",
        "fit.train_end: 1511544070 is not a time; write 2017-12-01 or 2017-12-01T08:00:00Z",
    ),
    "Spark's key without quotes": (
        BASE + "[spark.settings]\nspark.sql.ansi.enabled = 'true'",
        "spark.settings.spark: must be text in quotes; a dot made it a section: quote the whole key, as in "
        '"spark.sql.ansi.enabled" = "true"',
    ),
    "window upside down": (
        BASE + "[source.window]\nstart = 2020-01-02\nend = 2020-01-01",
        "source.window: start 2020-01-02T00:00:00+00:00 is not before end 2020-01-01T00:00:00+00:00",
    ),
    "gap without a clock": (
        ORDINAL,
        "source.clock = 'ordinal' has no times, so the gap rule cannot cut it; "
        "set sessions.rule = 'every_n' and sessions.every_n",
    ),
    "every_n without N": (
        ORDINAL + "[sessions]\nrule = 'every_n'",
        "sessions: every_n belongs to rule = 'every_n', and that rule needs it",
    ),
    "N without every_n": (
        BASE + "[sessions]\nevery_n = 5",
        "sessions: every_n belongs to rule = 'every_n', and that rule needs it",
    ),
    "cap below gap": (
        BASE + "[sessions]\ngap = '2h'\nmax = '1h'",
        "sessions: max = '1h' is shorter than gap = '2h'",
    ),
    "source_key without a key": (
        BASE + "[sessions]\nrule = 'source_key'",
        "sessions.rule = 'source_key' needs source.columns.session_key",
    ),
    "categories twice": (
        BASE + "category_id = 'c'\n[items]\npath = 'items.parquet'",
        "categories come from [items] and from source.columns.category_id; keep one",
    ),
    "types without modes": (
        BASE + "event_type = 'e'",
        "source: columns.event_type is mapped but [source.event_types] is empty, so every row would be "
        "rejected; list the types, or set unlisted_event_type to a mode",
    ),
    "modes without types": (
        BASE + "[source.event_types]\npv = 'browse'",
        "source: [source.event_types] is given but columns.event_type is not mapped",
    ),
    "no header, no names": (
        HEADERLESS + COLUMNS,
        "source: header = false needs field_names, the columns in file order",
    ),
    "names for a header": (
        BASE.replace('csv"\n[', "csv\"\nfield_names = ['u', 'i', 't']\n["),
        "source: field_names belongs to format = 'csv' with header = false",
    ),
    "column that is no field": (
        HEADERLESS + "field_names = ['u', 'i']\n" + COLUMNS,
        "source: columns names t, not in field_names",
    ),
    "pool too small": (
        BASE + "[sequences]\npool = 64\nbuckets = [64]",
        "sequences: pool = 64 cannot hold one target's strands in the worst case; raise it to 1901 "
        "or shrink the families",
    ),
    "no recent family": (
        BASE + "[sequences.families.theme]\nlength = 30",
        "sequences: the strand family recent is required",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_file_is_one_line_with_key_and_remedy(fault: str, tmp_path: Path) -> None:
    text, message = WRONG[fault]
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert str(raised.value) == f"{tmp_path / 'my.toml'}: {message}"
    assert raised.value.exit_status == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sesions.gap=1h", "unknown key sesions; did you mean sessions?"),
        ("gap=1h", "unknown key gap; did you mean sessions.gap?"),
        ("sessions.gap", "write section.key=value, such as sessions.gap=30min"),
        ("=1h", "write section.key=value, such as sessions.gap=30min"),
        ("sessions..gap=1h", "write section.key=value, such as sessions.gap=30min"),
        ("source.path.x=1", "source.path is a value, not a section"),
        ("sessions=1", "sessions is a section, not a value; write [sessions] and its keys below it"),
        ("themes.count=many", "themes.count: must be a whole number or 'auto', not 'many'"),
        ("sessions.max=1min", "sessions: max = '1min' is shorter than gap = '30min'"),
    ],
)
def test_a_wrong_override_is_named_instead_of_the_file(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, BASE, "hops.alpha=0.2", override)
    assert str(raised.value) == f"--set {override}: {message}"


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: no such config file; pass --config conf/NAME\.toml"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="the config file cannot be read: Is a directory"):
        load_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'warehouse = "\xe9"')
    with pytest.raises(ConfigError, match="byte 13 is not UTF-8; save the file as UTF-8 text"):
        load_config(tmp_path / "latin.toml")
