"""The published themes with names, sizes and what is typical of them."""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.report.facts import Facts
from pipelines.report.snapshot import Snapshot, quoted

TOP: Final = 5


@dataclass(frozen=True)
class Theme:
    """A theme of the published fit. ``share`` is of the sessions with a theme."""

    theme_id: int
    name: str
    sessions: int
    share: float
    learned_share: float  # in the sessions that the fit learned from
    before_share: float | None  # in an earlier publication
    categories: list[str]
    items: list[str]
    x: float  # place on the map
    y: float


@dataclass(frozen=True)
class Themes:
    """All themes, largest first; ``shown`` is the part of their variance that the map shows."""

    themes: list[Theme] = field(default_factory=list)
    shown: float = 0.0
    none: int = 0  # sessions without a theme

    def name(self, theme_id: int) -> str:
        """What to call a theme."""
        return next((one.name for one in self.themes if one.theme_id == theme_id), "no theme")


def measure(facts: Facts) -> Themes:
    """Names by the most typical category, or item; places by the two main directions of the centroids."""
    tables = facts.tables
    if facts.fit is None or not tables.has("silver/themes", "silver/sessions"):
        return Themes()
    rows = tables.query(
        "SELECT theme_id, share, centroid, top_items, top_categories FROM themes "
        f"WHERE fit_id = {quoted(facts.fit['fit_id'])} ORDER BY theme_id"
    )
    sizes = _sizes(tables)
    none = sizes.pop(1, 0)
    total = sum(sizes.values())
    before = _before(facts)
    words = {
        kind: _names(tables, f"{kind}", [one["index"] for row in rows for one in row[f"top_{kind}"][:TOP]])
        for kind in ("items", "categories")
    }
    places, shown = _map(np.array([row["centroid"] for row in rows], dtype=np.float64))
    themes = []
    for row, (x, y) in zip(rows, places, strict=True):
        own = {
            kind: [words[kind].get(one["index"], "?") for one in row[f"top_{kind}"][:TOP]]
            for kind in ("items", "categories")
        }
        n = sizes.get(row["theme_id"], 0)
        earlier = None if before is None else before.get(row["theme_id"], 0) / max(1, sum(before.values()))
        themes.append(
            Theme(
                row["theme_id"],
                _name(row["theme_id"], own, len(words["categories"])),
                n,
                n / total if total else 0.0,
                row["share"],
                earlier,
                own["categories"],
                own["items"],
                float(x),
                float(y),
            )
        )
    themes.sort(key=lambda one: (-one.sessions, one.theme_id))
    return Themes(themes, shown, none)


def _sizes(tables: Snapshot) -> dict[int, int]:
    found = tables.query("SELECT theme_id, count(*) AS n FROM sessions GROUP BY 1")
    return {row["theme_id"]: row["n"] for row in found}


def _before(facts: Facts) -> dict[int, int] | None:
    """Sessions by theme in the publication before, where its themes have the same meaning."""
    if facts.before is None:
        return None
    sizes = _sizes(Snapshot(facts.root, {"silver/sessions": facts.before.versions["silver/sessions"]}))
    sizes.pop(1, None)
    return sizes


def _names(tables: Snapshot, table: str, indices: list[int]) -> dict[int, str]:
    if not indices or not tables.has(f"silver/{table}"):
        return {}
    listed = ", ".join(str(int(index)) for index in sorted(set(indices)))
    found = tables.query(f"SELECT index, id FROM {table} WHERE index IN ({listed})")
    return {row["index"]: row["id"] for row in found}


def _name(theme_id: int, own: dict[str, list[str]], categories: int) -> str:
    words = own["categories" if categories > 1 else "items"]
    return f"{theme_id} · {words[0]}" if words else f"theme {theme_id}"


def _map(centroids: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Places (K, 2) on the two main directions of K centroids, and their share of the variance."""
    if len(centroids) < 2 or centroids.shape[1] < 2:
        return np.zeros((len(centroids), 2)), 0.0
    centred = centroids - centroids.mean(axis=0)
    _, strength, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])
    variance = strength**2
    whole = float(variance.sum())
    shown: float = float(variance[:2].sum()) / whole if whole else 0.0
    places: NDArray[np.float64] = centred @ (directions[:2].T * signs)
    return places, shown


def plain(found: Themes) -> list[dict[str, Any]]:
    """The themes as plain values."""
    return [vars(one) for one in found.themes]
