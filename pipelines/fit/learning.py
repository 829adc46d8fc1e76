"""Learn a fit from events: vectors, themes and the hop null, in a few passes."""

import numpy as np
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.sql import DataFrame

from features.codes import FIRST_INDEX
from features.sessions import SessionRule
from features.themes import nearest_theme
from features.vectors import VectorTable
from pipelines.fit.artefact import Drift, Fit, Theme, top
from pipelines.fit.counts import Counts, count_events
from pipelines.fit.embeddings import learn_vectors
from pipelines.fit.hop_null import learn_hop_null
from pipelines.fit.interests import ThemeCounts, count_by_theme, sample_interests
from pipelines.fit.options import FitOptions
from pipelines.fit.refit import carry_over, match_themes, shared_rows
from pipelines.fit.stream import bucket_limit, narrow_events
from pipelines.fit.theme_model import Clusters, cluster
from pipelines.workers import batches_by_rows


def learn(
    ordered: DataFrame,
    rule: SessionRule,
    options: FitOptions,
    train_end: int | None = None,
    previous: Fit | None = None,
) -> Fit:
    """A fit on events with ``ts`` < ``train_end`` (µs; None: all).

    ``ordered`` has ``ENCODED_EVENTS``; a partition holds whole users, sorted by user and order. The fit
    depends on the set of events only: not on partitions, cores, or anything at or after ``train_end``.
    Samples are the sessions whose hash of user and first event lies in the first of 65,536 buckets, as many
    buckets as fit the bound; one user in four, by hash, is kept from the vectors and gives the hop null.

    ``previous`` lends its theme ids to the themes that continue its own.
    """
    narrow = narrow_events(ordered, rule, train_end).persist(StorageLevel.DISK_ONLY)
    try:
        with batches_by_rows(narrow.sparkSession):
            narrow.count()
        counts = count_events(narrow, options.themes.min_session_events)
        table = learn_vectors(narrow, counts, options.embeddings)
        theme_limit = bucket_limit(counts.long_sessions, options.themes.max_sessions)
        interests = sample_interests(narrow, table, theme_limit, options.themes)
        clusters = cluster(interests, options.themes)
        ids, drift, last_id = _name_themes(clusters, table, interests, previous)
        order = np.argsort(ids)
        centroids = clusters.centroids[order]
        by_item, by_category = count_by_theme(
            narrow, table, centroids, ids[order], theme_limit, options=options.themes
        )
        session_limit = bucket_limit(counts.sessions, options.embeddings.max_sessions)
        hop_null = learn_hop_null(
            narrow,
            table,
            session_limit,
            options.hops.null_pairs,
            learned=options.embeddings.method != "category",
        )
    finally:
        narrow.unpersist()
    return Fit(
        options=options,
        train_end=train_end,
        table=table,
        centroids=centroids,
        themes=_describe(clusters, ids, by_item, by_category),
        silhouette=_known(clusters.silhouette),
        counts_tried=clusters.tried,
        last_theme_id=last_id,
        hop_null=hop_null,
        items=counts.items,
        categories=counts.categories,
        types=counts.types,
        sizes=_sizes(counts, table, session_limit, len(interests)),
        drift=drift,
    )


def _name_themes(
    clusters: Clusters, table: VectorTable, interests: NDArray[np.float64], previous: Fit | None
) -> tuple[NDArray[np.int32], Drift | None, int]:
    """Theme ids of the clusters, the drift against the fit before, and the largest id ever used."""
    number = len(clusters.centroids)
    if previous is None:
        ids = np.arange(FIRST_INDEX, FIRST_INDEX + number, dtype=np.int32)
        return ids, None, int(ids.max(initial=FIRST_INDEX - 1))
    old, new = shared_rows(previous.table, table)
    if len(old):
        carried = carry_over(previous.centroids, old, new)
    else:  # nothing in common: no theme can be said to go on
        carried = np.zeros((len(previous.centroids), table.dim))
    old_ids = previous.theme_ids
    ids, kept = match_themes(carried, old_ids, clusters.centroids, previous.last_theme_id)
    order = np.argsort(ids)
    now = nearest_theme(interests, clusters.centroids[order], ids[order])
    before = nearest_theme(interests, carried, old_ids)
    drift = Drift(
        previous_fit=previous.fit_id,
        kept=kept,
        born=tuple(sorted(set(ids.tolist()) - set(old_ids.tolist()))),
        ended=tuple(sorted(set(old_ids.tolist()) - set(ids.tolist()))),
        shared_vectors=len(old),
        changed_share=float((now != before).mean()) if len(now) else None,
    )
    return ids, drift, max(previous.last_theme_id, int(ids.max(initial=0)))


def _describe(
    clusters: Clusters, ids: NDArray[np.int32], by_item: ThemeCounts, by_category: ThemeCounts
) -> tuple[Theme, ...]:
    total = int(clusters.sessions.sum())
    overall = [
        np.bincount(counts.index, counts.n, minlength=FIRST_INDEX) for counts in (by_item, by_category)
    ]
    themes = []
    for at in np.argsort(ids):
        tops = []
        for counts, everywhere in zip((by_item, by_category), overall, strict=True):
            own = counts.theme == ids[at]
            tops.append(top(counts.index[own], counts.n[own], everywhere))
        sessions = int(clusters.sessions[at])
        silhouette = _known(float(clusters.theme_silhouette[at]))
        themes.append(Theme(int(ids[at]), sessions, sessions / total, silhouette, tops[0], tops[1]))
    return tuple(themes)


def _sizes(counts: Counts, table: VectorTable, session_limit: int, interests: int) -> dict[str, int]:
    sizes = {
        "events": counts.events,
        "sessions": int(counts.sessions.sum()),
        "sampled_sessions": int(counts.sessions[:session_limit].sum()),
        "theme_sessions": interests,
        "items": len(counts.items.index),
        "items_with_vector": int((table.item_row > 0).sum()),
        "categories": len(counts.categories.index),
        "categories_with_vector": int((table.category_row > 0).sum()),
    }
    return dict(sorted(sizes.items()))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
