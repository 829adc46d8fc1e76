"""Vectors of users and items: what workers make of a model, the tables, and whether it has any."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from pipelines.errors import ConfigError
from pipelines.score.model import ModelVersion, load
from pipelines.score.scores import Batches

USERS: Final = "embeddings/users"
ITEMS: Final = "embeddings/items"


def user_vectors(model: ModelVersion, as_of: datetime) -> Callable[[Batches], Batches]:
    """What ``mapInArrow`` runs: rows of users in, ``features.embeddings.USER_VECTORS`` out."""

    def embed(batches: Batches) -> Batches:
        served = load(model).served
        for batch in batches:
            if batch.num_rows:
                yield from served.user_vectors(pa.Table.from_batches([batch]), as_of=as_of).to_batches()

    return embed


def item_vectors(model: ModelVersion) -> Callable[[Batches], Batches]:
    """What ``mapInArrow`` runs on one row: ``features.embeddings.ITEM_VECTORS`` of the whole catalogue."""

    def embed(batches: Batches) -> Batches:
        for batch in batches:
            if batch.num_rows:
                yield from load(model).served.item_vectors().to_batches()

    return embed


def require_vectors(model: ModelVersion) -> None:
    """ConfigError where the model has no vectors to export.

    Its own code says so, in a process of its own: ``load`` changes which modules a process has.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        fault = pool.submit(_loaded_fault, model).result()
    if fault:
        raise ConfigError(f"--embeddings: {model.uri} in the registry at {model.tracking}: {fault}")


def fault_of(served: Any) -> str | None:
    """Why what a registered model serves has no vectors to export, and what to do; None where it has."""
    if not hasattr(served, "searchable"):
        return (
            "the code it was registered with is from before vectors could be exported; register its run "
            "anew (python -m training.registry register --run FOLDER), or leave --embeddings out"
        )
    if not served.searchable:
        return (
            f"{served.config.model.name} has no vectors of users and items; name a model that scores by "
            "inner products (sasrec, token_moe, mos, cmsl, ulim), or leave --embeddings out"
        )
    return None


def _loaded_fault(model: ModelVersion) -> str | None:
    return fault_of(load(model).served)
