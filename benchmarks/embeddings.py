"""Which way of learning item vectors recovers themes best per second? Generated sessions, known themes.

python benchmarks/embeddings.py [--sessions 100000] [--runs 3] [--off-theme 0.15] [--categories 0]

Sessions as in DESIGN.md's first comparison: 20 themes of 1,000 items, squared-uniform popularity,
15 % off-theme items. Prints a table: seconds of learning vectors (medians), theme ARI over sessions of
three or more events, with k-means given the true number of themes.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from sklearn.metrics import adjusted_rand_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.sessions import SessionRule
from features.themes import nearest_theme, session_sums
from pipelines.fit.counts import count_events
from pipelines.fit.embeddings import learn_vectors
from pipelines.fit.interests import sample_interests
from pipelines.fit.options import EmbeddingOptions, ThemeOptions
from pipelines.fit.stream import BUCKETS, narrow_events
from pipelines.fit.theme_model import cluster
from pipelines.spark import start_spark

THEMES = 20
ITEMS = 1_000  # of a theme
WAYS = {
    "ppmi_svd": EmbeddingOptions(),
    "ppmi_svd, 100,000 sessions' sample": EmbeddingOptions(max_sessions=100_000),
    "ppmi_svd, head of 2,000 items": EmbeddingOptions(max_items=2_000),
    "word2vec": EmbeddingOptions(method="word2vec"),
    "category": EmbeddingOptions(method="category"),
}


def generate(
    sessions: int, off_theme: float, categories: int, seed: int
) -> tuple[pa.Table, NDArray[np.int64], NDArray[np.int64]]:
    """Events (N rows), the first event of each session, and each session's theme."""
    rng = np.random.default_rng(seed)
    lengths = 1 + rng.geometric(1 / 5.5, sessions)
    theme = rng.integers(0, THEMES, sessions)
    owner = np.repeat(np.arange(sessions), lengths)
    shown = theme[owner]
    stray = rng.random(len(owner)) < off_theme
    shown = np.where(stray, rng.integers(0, THEMES, len(owner)), shown)
    item = (ITEMS * rng.random(len(owner)) ** 2).astype(np.int64)
    category = shown * categories + item % categories + 2 if categories else np.ones(len(owner))
    starts = np.cumsum(lengths) - lengths
    table = pa.table(
        {
            "user_id": pa.array(owner // 5).cast(pa.string()),
            "event_id": pa.array(np.arange(len(owner))).cast(pa.string()),
            "ts": np.arange(len(owner)),
            "item": (shown * ITEMS + item + 2).astype(np.int32),
            "category": category.astype(np.int32),
            "type": np.full(len(owner), 2, dtype=np.int32),
            "mode": np.ones(len(owner), dtype=np.int32),
            "session_key": pa.array(owner % 5).cast(pa.string()),
        }
    )
    return table, starts, theme


def measure(
    narrow: DataFrame, truth: tuple[pa.Table, NDArray[np.int64], NDArray[np.int64]], way: EmbeddingOptions
) -> tuple[float, float, float]:
    """Seconds of counting and learning vectors, seconds of clustering, theme ARI."""
    themes = ThemeOptions(count=THEMES)
    begin = time.perf_counter()
    table = learn_vectors(narrow, count_events(narrow, themes.min_session_events), way)
    learned = time.perf_counter()
    clusters = cluster(sample_interests(narrow, table, BUCKETS, themes), themes)
    clustered = time.perf_counter()
    rows, _ = table.lookup(truth[0].column("item").to_numpy(), truth[0].column("category").to_numpy())
    ids = np.arange(2, 2 + len(clusters.centroids), dtype=np.int32)
    found = nearest_theme(session_sums(table.vectors, rows, truth[1]), clusters.centroids, ids)
    long = np.diff(truth[1], append=len(rows)) >= 3
    return learned - begin, clustered - learned, adjusted_rand_score(truth[2][long], found[long])


def stored(spark: SparkSession, table: pa.Table) -> DataFrame:
    """The events as ``learn`` keeps them: reading, cutting and packing them is no part of the comparison."""
    frame = (
        spark.createDataFrame(table).repartition("user_id").sortWithinPartitions("user_id", "ts").persist()
    )
    narrow = narrow_events(frame, SessionRule("source_key"), None).persist()
    narrow.count()
    frame.unpersist()
    return narrow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--off-theme", type=float, default=0.15)
    parser.add_argument("--categories", type=int, default=0, help="categories of a theme; 0: none")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS), help="default: all")
    arguments = parser.parse_args()
    spark = start_spark(
        "embeddings benchmark", {"spark.sql.shuffle.partitions": "4", "spark.driver.memory": "2g"}
    )
    spread = {name: [] for name in arguments.ways}
    for run in range(arguments.runs):
        truth = generate(arguments.sessions, arguments.off_theme, arguments.categories, run)
        events = stored(spark, truth[0])
        if run == 0:  # JIT, workers and imports
            measure(events, truth, WAYS["ppmi_svd"])
        for name, found in spread.items():
            if WAYS[name].method != "category" or arguments.categories:
                found.append(measure(events, truth, replace(WAYS[name], seed=run)))
                print(run, name, found[-1], file=sys.stderr, flush=True)
        events.unpersist()
    print(f"{truth[0].num_rows:,} events in {arguments.sessions:,} sessions; medians of {arguments.runs}")
    print("| method | learning vectors, s | themes, s | theme ARI | its range |")
    print("| --- | --- | --- | --- | --- |")
    for name, runs in spread.items():
        if runs:
            learning, clustering, ari = (statistics.median(column) for column in zip(*runs, strict=True))
            low, high = min(run[2] for run in runs), max(run[2] for run in runs)
            print(f"| {name} | {learning:.1f} | {clustering:.1f} | {ari:.3f} | {low:.3f}–{high:.3f} |")
    spark.stop()


if __name__ == "__main__":
    main()
