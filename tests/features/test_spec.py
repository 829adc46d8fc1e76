"""The tensor contract: names, shapes, and the specs that could not keep it."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.spec import EVENT_FIELDS, FAMILIES, TARGET_COLUMNS, FamilySpec, SequenceSpec, default_families

SMALL = (FamilySpec("recent", 1, 4), FamilySpec("theme", 2, 3))


def test_default_columns_in_table_order() -> None:
    columns = list(SequenceSpec().array_columns())
    events = [f"events__{name}" for name in EVENT_FIELDS]
    strands = [f"{family}__{part}" for family in FAMILIES for part in ("pos", "key")]
    assert columns == [*events, *TARGET_COLUMNS, *strands]
    kinds = SequenceSpec().array_columns()
    assert {name for name, kind in kinds.items() if kind == "int64"} == {"events__ts"}
    assert set(kinds.values()) == {"int32", "int64"}


@pytest.mark.parametrize(
    ("column", "bucket", "shape"),
    [
        ("events__item", 64, (64,)),
        ("events__ts", 2048, (2048,)),
        ("targets__pos", 64, (64,)),  # a row of 64 events has at most 64 targets
        ("targets__read_pos", 2048, (256,)),
        ("recent__pos", 64, (1, 64)),
        ("recent__pos", 2048, (1, 100)),
        ("session__pos", 16, (5, 10)),
        ("theme__pos", 16, (4, 16)),
        ("theme__key", 16, (4,)),
        ("category__pos", 2048, (8, 64)),
        ("mode__key", 2048, (4,)),
    ],
)
def test_shapes_by_bucket(column: str, bucket: int, shape: tuple[int, ...]) -> None:
    assert SequenceSpec().shape(column, bucket) == shape


@given(st.integers(min_value=0, max_value=2048))
def test_the_bucket_is_the_smallest_that_holds_the_row(length: int) -> None:
    spec = SequenceSpec()
    bucket = spec.bucket(length)
    assert bucket >= length
    assert not [size for size in spec.buckets if length <= size < bucket]


def test_a_row_beyond_the_pool_has_no_bucket() -> None:
    with pytest.raises(ValueError, match="2049 events exceed the pool of 2048"):
        SequenceSpec().bucket(2049)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"families": (FamilySpec("theme", 2, 3),)}, "the strand family recent is required"),
        (
            {"families": (*SMALL, FamilySpec("theme", 1, 1))},
            "a strand family is declared twice: recent, theme, theme",
        ),
        ({"families": (*SMALL, FamilySpec("mode", 1, 5))}, "mode: length 5 exceeds recent's 4"),
        ({"targets": 0}, "targets must be at least 1"),
        ({"pool": 64}, "must ascend and end at pool = 64"),
        ({"buckets": (64, 16, 2048)}, "must ascend and end at pool = 2048"),
        ({"buckets": (16, 16, 2048)}, "must ascend and end at pool = 2048"),
        ({"pool": 1024, "buckets": (1024,)}, "pool = 1024 cannot hold one target's strands"),
        # 2 * (recent 100 + session 5 * 10 + theme (4 + 1) * 32 + category 8 * 64 + mode 4 * 32) + 1
        ({"pool": 1900, "buckets": (1900,)}, "raise it to 1901"),
    ],
)
def test_specs_that_cannot_hold(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SequenceSpec(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("brand", 1, 5), "strand family 'brand' is unknown; known: recent, session, theme, category, mode"),
        (("theme", 0, 5), "strand family theme: strands and length must be at least 1"),
        (("theme", 1, 0), "strand family theme: strands and length must be at least 1"),
        (("recent", 2, 5), "strand family recent is one strand: strands must be 1"),
    ],
)
def test_families_that_cannot_be(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        FamilySpec(*arguments)


def test_the_smallest_pool_is_allowed_and_one_less_is_not() -> None:
    # two prefixes (a target's and the chunk's end), each recent 4 + theme (2 + 1 closed) * 3, and the target
    least = 2 * (4 + 9) + 1
    assert SequenceSpec(least, 1, (least,), SMALL).smallest_pool == least
    with pytest.raises(ValueError, match=f"raise it to {least}"):
        SequenceSpec(least - 1, 1, (least - 1,), SMALL)


def test_unknown_categories_and_absent_themes_form_no_strand() -> None:
    assert {f.name: f.min_key for f in default_families()} == {
        "recent": 1, "session": 1, "theme": 2, "category": 2, "mode": 1,
    }  # fmt: skip


def test_constant_families_leave_the_spec() -> None:
    spec = SequenceSpec().without("category", "mode")
    assert [family.name for family in spec.families] == ["recent", "session", "theme"]
    assert "mode__pos" not in spec.array_columns()
    with pytest.raises(KeyError, match="mode"):
        spec.family("mode")


def test_json_round_trip() -> None:
    for spec in (SequenceSpec(), SequenceSpec(27, 3, (8, 27), SMALL)):
        assert SequenceSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
