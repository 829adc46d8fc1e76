"""The items, their categories and the chains of the themes: the same for every shard."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.synthetic.settings import Settings

Ints = npt.NDArray[np.int64]

NEIGHBOURHOOD = 48
"""Places of a chain that share categories, so that a session meets few of them."""

LOCAL_CATEGORIES = (0.67, 0.16, 0.09, 0.05, 0.03)
"""Shares of the categories of one neighbourhood."""

POPULAR_CATEGORIES = 24
"""Categories that all themes share; shares fall as 1/rank^0.8."""


@dataclass(frozen=True)
class World:
    """Themes as rings of items; ids carry no hint at a theme."""

    chain: Ints
    """``(themes, items_per_theme)`` item index at each place."""
    item_id: Ints
    """``(items,)`` the id that is written."""
    item_category: Ints
    """``(items,)`` the category id that is written."""
    theme_share: npt.NDArray[np.float64]
    """``(themes,)`` popularity, sums to 1."""


def zipf(n: int, exponent: float) -> npt.NDArray[np.float64]:
    """Shares ``(n,)`` that fall as 1/rank^exponent and sum to 1."""
    weights = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def build_world(settings: Settings) -> World:
    """Draw the world from the seed."""
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(0,)))
    themes, places = settings.themes, settings.items_per_theme
    chain = np.arange(themes * places, dtype=np.int64).reshape(themes, places)
    if settings.theme_overlap and themes > 1:
        chain = _overlap(chain, settings.theme_overlap, rng)
    item_category = _categories(themes, places, settings.shared_categories, rng)
    return World(
        chain=chain,
        item_id=100_000 + rng.permutation(themes * places).astype(np.int64),
        item_category=item_category,
        theme_share=zipf(themes, 0.6),
    )


def _overlap(chain: Ints, part: float, rng: np.random.Generator) -> Ints:
    """Replace a part of each ring's places by items of another theme."""
    themes, places = chain.shape
    borrowed = rng.random(chain.shape) < part
    other = (np.arange(themes)[:, None] + rng.integers(1, themes, chain.shape)) % themes
    return np.where(borrowed, chain[other, rng.integers(0, places, chain.shape)], chain)


def _categories(themes: int, places: int, shared: float, rng: np.random.Generator) -> Ints:
    """Category id of each item of the rings before overlap, ``(themes * places,)``."""
    per = len(LOCAL_CATEGORIES)
    blocks = -(-places // NEIGHBOURHOOD)
    # The categories of each neighbourhood: its own names, some of them replaced by popular ones.
    names = POPULAR_CATEGORIES + np.arange(themes * blocks * per).reshape(themes, blocks, per)
    popular = rng.choice(POPULAR_CATEGORIES, names.shape, p=zipf(POPULAR_CATEGORIES, 0.8))
    names = np.where(rng.random(names.shape) < shared, popular, names)
    local = rng.choice(per, (themes, places), p=LOCAL_CATEGORIES)
    category = names[np.arange(themes)[:, None], np.arange(places) // NEIGHBOURHOOD, local].ravel()
    ids = 1_000 + rng.permutation(POPULAR_CATEGORIES + themes * blocks * per)
    return np.asarray(ids[category], dtype=np.int64)
