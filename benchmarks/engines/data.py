"""Events for the engines, made once: bursts of two minutes, days between them.

python benchmarks/engines/data.py --events 20000000 --out DIR [--zipf] [--heavy 0.05]

Users are log-normal (σ 1.5), or with ``--zipf`` as active as rank ** -1.1, of whom none has more than 0.1 %
of all events (or ten times the mean, where that is more). ``--heavy`` gives that share of all events to one
user, and to the others what is left.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

EVENTS_PER_USER = 50
ZIPF, TOP_SHARE, TOP_TIMES_MEAN = 1.1, 0.001, 10
DAYS = 30
DAY_S = 86_400
FIRST_S = 1_760_000_000
ITEMS, CATEGORIES = 500_000, 997
TYPES = ("pv", "cart", "fav", "buy")
FILE_ROWS, GROUP_ROWS = 1_250_000, 250_000


def event_counts(rng: np.random.Generator, events: int, heavy: float, zipf: bool) -> np.ndarray:
    """Events of each user; the sum is ``events``. The heavy one, if any, is the first."""
    users = max(events // EVENTS_PER_USER, 2)
    weight = zipf_shares(users) if zipf else rng.lognormal(0, 1.5, users)
    share = weight / weight.sum() * (1 - heavy)
    share[0] += heavy
    # Rounding the sums, not the shares, leaves nothing over for somebody to get.
    return np.diff(np.round(np.cumsum(share) * events).astype(np.int64), prepend=0)


def zipf_shares(users: int) -> np.ndarray:
    """Of each rank; what the first ones have above the limit goes to all others."""
    share = np.arange(1, users + 1) ** -ZIPF
    limit = max(TOP_SHARE, TOP_TIMES_MEAN / users)
    for _ in range(100):
        share = np.minimum(share / share.sum(), limit)
    return share


def made(out: Path, events: int, heavy: float, zipf: bool) -> Path:
    """The folder under ``out`` with such events, which are made unless they lie there."""
    folder = out / f"events-{events}-{'zipf' if zipf else 'lognormal'}-{heavy:g}"
    make(events, folder, heavy, zipf)
    return folder


def make(events: int, out: Path, heavy: float = 0.0, zipf: bool = False) -> None:
    """Write the events in the order of their time; nothing where they lie there already."""
    done = out / "_DONE"
    if done.exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    counts = event_counts(rng, events, heavy, zipf)
    user = np.repeat(rng.permutation(len(counts)).astype(np.int64) + 10_000_000, counts)
    near = rng.random(events) < 0.8
    gap = np.where(near, rng.exponential(120, events), rng.exponential(2 * DAY_S, events)).astype(np.int64)
    second = np.cumsum(gap) % (DAYS * DAY_S) + FIRST_S
    item = rng.zipf(1.2, events) % ITEMS + 1
    kind = rng.choice(len(TYPES), events, p=[0.85, 0.08, 0.04, 0.03])
    order = np.argsort(second, kind="stable")
    names = pa.array(TYPES)
    for number, start in enumerate(range(0, events, FILE_ROWS)):
        own = order[start : start + FILE_ROWS]
        columns = {
            "user_id": user[own],
            "item_id": item[own],
            "category_id": (item[own] * 2_654_435_761 % CATEGORIES + 1).astype(np.int32),
            "event_type": names.take(pa.array(kind[own])),
            "ts": pa.array(second[own] * 1_000_000).cast(pa.timestamp("us", tz="UTC")),
        }
        file = out / f"part-{number:04}.parquet"
        pq.write_table(pa.table(columns), file, compression="zstd", row_group_size=GROUP_ROWS)
    done.touch()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--heavy", type=float, default=0.0)
    parser.add_argument("--zipf", action="store_true")
    make(**vars(parser.parse_args()))
