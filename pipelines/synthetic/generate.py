"""A whole data set: shards in parallel, events and truth in one folder, the counts as a summary."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import convert_to_deltalake

from pipelines.errors import ConfigError
from pipelines.synthetic.corrupt import malformed_counts, written_rows
from pipelines.synthetic.settings import Settings
from pipelines.synthetic.users import simulate
from pipelines.synthetic.world import World, build_world
from pipelines.synthetic.writer import write_items, write_rows, write_truth

Counts = dict[str, int]


def generate(
    settings: Settings, out: Path, workers: int = 1, say: Callable[[str], None] = lambda _: None
) -> Mapping[str, Any]:
    """Write ``out/events`` and ``out/truth`` and return the summary, also in ``out/truth/summary.json``.

    The same settings give the same bytes whatever the number of workers. Raises ``ConfigError`` where the
    folder cannot be written or holds a data set already.
    """
    begin = time.perf_counter()
    events, truth = _folders(out)
    world = build_world(settings)
    write_items(world, truth)
    total: Counts = {}
    for done, counts in enumerate(_shards(settings, world, out, workers), start=1):
        total = {name: total.get(name, 0) + n for name, n in counts.items()}
        say(f"shard {done}/{settings.shards} written, {total['events']:,} events so far")
    if settings.format == "delta":
        convert_to_deltalake(events)
    stated = {name: str(value) if name == "start" else value for name, value in asdict(settings).items()}
    summary = {
        **{name: total[name] for name in ("events", "sessions", "hops", "returns", "rows_written", "late")},
        "users": settings.n_users,
        "bots": settings.n_bots,
        "duplicates": round(settings.duplicates * settings.events),
        "malformed": malformed_counts(settings),
        "files": total["files"],
        "window": {"start": _iso(settings.start_s), "end": _iso(settings.end_s)},
    }
    (truth / "summary.json").write_text(json.dumps({**summary, "settings": stated}, indent=1) + "\n")
    return {**summary, "seconds": round(time.perf_counter() - begin, 2)}


def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _folders(out: Path) -> tuple[Path, Path]:
    folders = out / "events", out / "truth"
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            occupied = any(folder.iterdir())
        except OSError as error:
            raise ConfigError(
                f"--out {out} cannot be written: {error.strerror}; choose another folder"
            ) from None
        if occupied:
            raise ConfigError(
                f"--out {out} holds a data set already ({folder.name}/); remove it or choose another"
            )
        if not os.access(folder, os.W_OK):
            raise ConfigError(f"--out {out} cannot be written: no permission; choose another folder")
    return folders


def _shards(settings: Settings, world: World, out: Path, workers: int) -> Iterator[Counts]:
    """Counts of each shard, in their order."""
    jobs = [(settings, world, out, shard) for shard in range(settings.shards)]
    if min(workers, len(jobs)) <= 1:
        yield from map(_shard, jobs)
        return
    context = multiprocessing.get_context("spawn")  # forked children of a threaded Arrow may hang
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=pa.set_cpu_count, initargs=(1,)
    ) as pool:
        yield from pool.map(_shard, jobs)


def _shard(job: tuple[Settings, World, Path, int]) -> Counts:
    """Simulate one shard and write its rows and its truth."""
    settings, world, out, shard = job
    simulated = simulate(settings, world, shard)
    rows = written_rows(settings, world, shard, simulated.events)
    files = write_rows(settings, rows, shard, out / "events")
    counts = write_truth(settings, world, shard, simulated, out / "truth")
    return {**counts, "rows_written": rows.table.num_rows, "late": rows.late, "files": files}
