"""Splits by time: they ascend, leave no gap, and never reach into what the fit has seen."""

from datetime import UTC, datetime, timedelta

import pytest

from training.errors import ConfigError
from training.splits import Splits

FIT_END = datetime(2020, 1, 10, tzinfo=UTC)
AS_OF = datetime(2020, 1, 20, 0, 0, 0, 1, tzinfo=UTC)


def test_by_default_half_of_the_rest_is_validated_and_half_tested() -> None:
    found = Splits.of(FIT_END, AS_OF, None, None)
    assert found.train.end == found.valid.start == int(FIT_END.timestamp())
    assert found.valid.end == found.test.start
    assert abs((found.valid.end - found.valid.start) - (found.test.end - found.test.start)) <= 1
    assert found.test.end * 1_000_000 > AS_OF.timestamp() * 1_000_000, "the last second is in it"


def test_boundaries_may_be_given() -> None:
    first, second = FIT_END + timedelta(days=2), FIT_END + timedelta(days=3)
    found = Splits.of(FIT_END, AS_OF, first, second)
    assert (found.train_end, found.valid_end) == (first.timestamp(), second.timestamp())
    hour = Splits.of(FIT_END, AS_OF, first, second, second + timedelta(hours=1))
    assert (hour.test.start, hour.test.end) == (second.timestamp(), second.timestamp() + 3600)


def test_a_holdout_moves_with_the_data_but_not_before_the_fit() -> None:
    late = Splits.of(FIT_END, AS_OF, holdout=timedelta(days=2))
    assert late.train_end == int(AS_OF.timestamp()) - 2 * 86_400
    assert Splits.of(FIT_END, AS_OF, holdout=timedelta(days=30)).train_end == FIT_END.timestamp()


def test_training_must_not_end_before_the_fit() -> None:
    with pytest.raises(ConfigError, match="lies before the fit's 2020-01-10"):
        Splits.of(FIT_END, AS_OF, FIT_END - timedelta(hours=1), None)


@pytest.mark.parametrize("times", [(5, 5, 9), (5, 4, 9), (5, 8, 7)])
def test_splits_must_ascend(times: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="must ascend"):
        Splits(*times)
