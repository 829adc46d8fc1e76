"""A hundred users of Globo's real clicks are erased, proven, and do not come back."""

import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.build import BuildRequest, build
from pipelines.erasure import EraseRequest, erase_users
from pipelines.erasure.derived import derived_ids
from pipelines.erasure.needles import Needles
from pipelines.erasure.scan import scan
from pipelines.pointer import require_published
from tests.content import TABLES, require_forgotten, row_sums

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("spark"), pytest.mark.timeout(7200)]
ERASED = 100


def test_a_hundred_users_of_globo(shared_data: Path, tmp_path: Path) -> None:
    globo = shared_data / "globo"
    users = pq.read_table(globo / "clicks.parquet", columns=["user_id"]).column("user_id").unique()
    victims = random.Random(6).sample([str(user) for user in users.to_pylist()], ERASED)
    root, config = tmp_path / "warehouse", Path(__file__).parents[2] / "conf" / "globo.toml"
    more = [f"items.path={globo / 'article_categories.parquet'}"]
    given = {"config": str(config), "source": str(globo / "clicks.parquet"), "warehouse": str(root)}
    build(BuildRequest(**given, set=more))
    needles = Needles([*victims, *derived_ids(root, victims)])
    before, old = row_sums(root, without=set(victims)), require_published(str(root))
    began = time.perf_counter()
    receipt = erase_users(EraseRequest(str(root), victims, now=datetime.now(UTC)))
    print(receipt, f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    assert receipt["proven"] and receipt["users_found"] == ERASED and receipt["places_before"] > 0
    assert row_sums(root, without=set(victims)) == before == row_sums(root)
    require_forgotten(root, {name: old.versions[name] for name in TABLES})
    summary = build(BuildRequest(**given, set=more, full_refresh=True, fit="frozen"))
    assert summary["rejected"]["erased"] > 0
    assert list(scan(root, needles)) == []
