"""The job: users out of a warehouse for good, proven by a scan that found them before and no more after.

The order makes a run that was killed at any point safe to repeat: users are suppressed first, documents are
cleaned and the new versions published while the old files can still tell derived ids, and old files go last.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from deltalake import DeltaTable

from pipelines.carry import publish_again, record_upkeep
from pipelines.erasure.derived import derived_ids
from pipelines.erasure.models import (
    Holders,
    artefacts_with,
    models_naming,
    models_with,
    tag_models,
    untagged,
    versions_with,
)
from pipelines.erasure.needles import Needles
from pipelines.erasure.receipt import Receipt, last_receipt, write_receipt
from pipelines.erasure.scan import Place, read_ids, scan
from pipelines.erasure.tables import delete_users, rows_of_users, strip_quarantine, user_tables
from pipelines.erasure.texts import remove_reports, scrub_documents, scrub_ops
from pipelines.errors import ConfigError, SeqloomError
from pipelines.ingest.write import REJECTED
from pipelines.lock import Lock, local_folder, located
from pipelines.old_versions import delta_tables, forget_old_versions
from pipelines.pointer import Published, publications, published
from pipelines.progress import Progress
from pipelines.publish import restore
from pipelines.registered import Registered, client_of, models_of, tracking_uri
from pipelines.spark import start_spark
from pipelines.suppressed import suppress, suppressed
from pipelines.turns import hold_lock_in_turn
from pipelines.warehouse import Warehouse, require_writable

SHOWN_PLACES = 5
Key = TypeVar("Key", str, int)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class EraseRequest:
    """What the command line asks for. ``now`` is the run's clock, read once."""

    warehouse: str
    user: list[str] = field(default_factory=list)
    users: str | None = None  # file, one id a line
    tracking: str | None = None  # MLflow's URI; default: its environment variable
    dry_run: bool = False
    now: datetime = field(default_factory=_now)


@dataclass(frozen=True)
class Search:
    """Whom the job looks for, and where a scan found them."""

    users: frozenset[str]
    needles: Needles  # the users and the ids derived from them
    places: list[Place]

    @property
    def found(self) -> frozenset[str]:
        """The users that the scan found."""
        return self.users & {one for place in self.places for one in place.ids}


@dataclass(frozen=True)
class Registry:
    """The registered models of the warehouse; none where no registry was named."""

    client: Any
    models: list[Registered]


@dataclass(frozen=True)
class Erasure:
    """One run of the job."""

    root: str
    folder: Path
    run_id: str
    started_at: datetime
    search: Search
    registry: Registry
    progress: Progress


def erase_users(request: EraseRequest) -> Mapping[str, Any]:
    """Erase users; the receipt that becomes the last line of stdout.

    Raises ConfigError where none of the users is known here, and SeqloomError that names the places where an
    id still stands after the work is done.
    """
    request = replace(request, warehouse=located(request.warehouse))
    users = requested(request)
    folder = require_folder(request.warehouse)
    progress = Progress()
    run_id = f"erase-{request.now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    if request.dry_run:
        return _plan(_begin(request, folder, users, run_id, progress))
    require_writable(request.warehouse)
    with hold_lock_in_turn(request.warehouse, run_id, progress) as lock:
        erasure = _begin(request, folder, users, run_id, progress)
        done = _done_before(erasure)
        return done if done is not None else _erase(erasure, lock)


def requested(request: EraseRequest) -> frozenset[str]:
    """The users of ``--user`` and ``--users``; ConfigError where there are none."""
    users = [one.strip() for one in request.user]
    if request.users is not None:
        file = Path(request.users)
        if not file.is_file():
            raise ConfigError(f"--users {file}: no such file; write one user id a line")
        users += read_ids(file)
    found = frozenset(one for one in users if one)
    if not found:
        raise ConfigError("no user is given; name them with --user ID or --users FILE")
    return found


def require_folder(root: str) -> Path:
    """The warehouse's folder; ConfigError where it is none, or lies on an object store."""
    folder = local_folder(root)
    if folder is None:
        raise ConfigError(f"{root}: every file is looked into, so mount the store and name its folder")
    if not folder.is_dir():
        raise ConfigError(f"{root}: no such folder; pass the warehouse of a build with --warehouse DIR")
    return folder


def _begin(
    request: EraseRequest, folder: Path, users: frozenset[str], run_id: str, progress: Progress
) -> Erasure:
    with progress.stage("look for the users") as stage:
        needles = Needles([*users, *derived_ids(folder, users)])
        search = Search(users, needles, list(scan(folder, needles)))
        stage.say(f"{len(search.found):,} of {len(users):,} users found, in {len(search.places):,} places")
        stage.say(f"{len(needles.ids) - len(users):,} session and event ids of theirs")
    registry = _registry(request, progress)
    return Erasure(request.warehouse, folder, run_id, request.now, search, registry, progress)


def _registry(request: EraseRequest, progress: Progress) -> Registry:
    uri = tracking_uri(request.tracking)
    if uri is None:
        progress.say(
            "no registry is named (--tracking, MLFLOW_TRACKING_URI): no model is tagged or searched; "
            "a later run with --tracking tags those that were fitted on these users"
        )
        return Registry(None, [])
    progress.say("asking the model registry")
    client = client_of(uri)
    return Registry(client, list(models_of(request.warehouse, client)))


def _plan(erasure: Erasure) -> Mapping[str, Any]:
    """What a run would do; nothing is written."""
    search = erasure.search
    if not search.found:
        raise _unknown(erasure)
    rows = {name: rows_of_users(erasure.folder, name, search.users) for name in user_tables(erasure.folder)}
    for place in search.places:
        erasure.progress.say(str(place))
    return {
        "dry_run": True,
        "users": len(search.users),
        "users_found": len(search.found),
        "rows": rows,
        "places": len(search.places),
        "models": models_with(Holders(erasure.folder, search.users), erasure.registry.models),
    }


def _done_before(erasure: Erasure) -> Mapping[str, Any] | None:
    """The receipt of an erasure that is done already; None where there is work.

    ConfigError where nobody is known: nothing was ever kept of them, and nothing is to be done.
    """
    search, root = erasure.search, erasure.root
    if search.places:
        return None
    held = suppressed(root)
    hashes = [] if held is None else [held.key.hash(user) for user in search.users]
    if held is None or not set(hashes) <= held.hashes:
        raise _unknown(erasure)
    receipt = last_receipt(root, _erasure_id(hashes))
    if receipt is None or not receipt.versions_after:  # cut off before its proof
        return None
    models = erasure.registry.models
    fitted = _larger(receipt.models, models_naming(models, receipt.sequence_versions))
    left = len(untagged(models, fitted, receipt.erasure_id))
    if left:
        erasure.progress.say(
            f"these users were erased before; {left:,} models fitted on them have no tag yet"
        )
    if left or not receipt.proven:
        return _finish(erasure, replace(receipt, models=fitted))
    erasure.progress.say("these users were erased before; nothing is left to do")
    return receipt.to_plain() | {"seconds": erasure.progress.seconds}


def _finish(erasure: Erasure, done: Receipt) -> Mapping[str, Any]:
    """Tag and search the models that an erasure left over, such as one without their registry; the receipt.

    The warehouse holds nothing of the users, so its tables and old versions stay as they are. The files of
    models are searched for users alone: from which sessions and events ids were derived is forgotten.
    """
    progress = erasure.progress
    begun = replace(done, run_id=erasure.run_id, status="begun", at=_now(), places_after=[], proven=None)
    write_receipt(erasure.root, begun)
    _tag(erasure, begun)
    with progress.stage("look for the users in the models' files") as stage:
        left = list(artefacts_with(erasure.registry.models, erasure.search.needles))
        stage.say(f"{len(left):,} places")
    return _close(erasure, begun, left, published(erasure.root))


def _erase(erasure: Erasure, lock: Lock | None) -> Mapping[str, Any]:
    search, progress, root = erasure.search, erasure.progress, erasure.root
    unknown = len(search.users - search.found)
    if unknown and search.places:
        progress.say(f"warning: {unknown:,} of the users stand nowhere here; they are kept out from now on")
    key = suppress(root, search.users, erasure.started_at, erasure.run_id)
    pointer = published(root)
    with progress.stage("start Spark"):
        warehouse = Warehouse(start_spark("seqloom erase", places=[f"{root}/bronze"]), root, erasure.run_id)
    for line in restore(warehouse, pointer, lock=lock):
        progress.say(f"warning: {line}")
    begun = _begun(erasure, sorted(key.hash(user) for user in search.users))
    with progress.stage("clean documents and records") as stage:
        scrubbed = scrub_ops(erasure.folder, search.needles, erasure.run_id)
        reports = remove_reports(erasure.folder)
        changed = scrub_documents(erasure.folder, search.needles)
        stage.say(f"{sum(scrubbed.values()):,} records, {len(changed):,} documents")
        stage.say(f"{len(reports):,} reports removed")
    with progress.stage("delete rows") as stage:
        for table in user_tables(erasure.folder):
            delete_users(warehouse, erasure.folder, table, search.users)
        column = _user_column(pointer)
        payloads = strip_quarantine(warehouse, erasure.folder, search.users, search.needles, column)
        begun = replace(begun, rows_removed=_larger(begun.rows_removed, {REJECTED: payloads}))
        stage.say(", ".join(f"{rows:,} of {table}" for table, rows in begun.rows_removed.items() if rows))
    with progress.stage("publish"):
        publish_again(warehouse, pointer, lock, erasure.started_at)
    _tag(erasure, begun)
    with progress.stage("remove old versions") as stage:
        stage.say(f"{_forget(erasure, warehouse, lock):,} files")
    return _prove(erasure, begun, pointer)


def _begun(erasure: Erasure, hashes: list[str]) -> Receipt:
    """What the run is going to remove, written down; or the larger figures of a run that was cut off."""
    search, folder = erasure.search, erasure.folder
    holders = Holders(folder, search.users)
    rows = {name: rows_of_users(folder, name, search.users) for name in user_tables(folder)}
    receipt = Receipt(
        erasure_id=_erasure_id(hashes),
        run_id=erasure.run_id,
        status="begun",
        at=_now(),
        users=hashes,
        users_found=len(search.found),
        rows_removed=rows,
        versions_before=_versions(folder),
        models=models_with(holders, erasure.registry.models),
        places_before=len(search.places),
        sequence_versions=versions_with(holders, publications(erasure.root)),
    )
    earlier = last_receipt(erasure.root, receipt.erasure_id)
    if earlier is not None and not earlier.proven:
        receipt = _with_earlier(receipt, earlier)
    if earlier is not None:
        versions = _larger(receipt.sequence_versions, earlier.sequence_versions)
        named = models_naming(erasure.registry.models, versions)
        receipt = replace(receipt, sequence_versions=versions, models=_larger(receipt.models, named))
    write_receipt(erasure.root, receipt)
    return receipt


def _with_earlier(receipt: Receipt, earlier: Receipt) -> Receipt:
    """The figures of both runs: of each the larger one."""
    return replace(
        receipt,
        users_found=max(receipt.users_found, earlier.users_found),
        rows_removed=_larger(receipt.rows_removed, earlier.rows_removed),
        models=_larger(receipt.models, earlier.models),
        versions_before=earlier.versions_before or receipt.versions_before,
        places_before=max(receipt.places_before, earlier.places_before),
    )


def _tag(erasure: Erasure, begun: Receipt) -> None:
    registry = erasure.registry
    if registry.client is not None:
        tag_models(registry.client, registry.models, begun.models, begun.erasure_id, erasure.started_at)


def _prove(erasure: Erasure, begun: Receipt, pointer: Published | None) -> Mapping[str, Any]:
    """The scan after the work, and the receipt."""
    search, progress = erasure.search, erasure.progress
    with progress.stage("look for the users again") as stage:
        left = [str(place) for place in scan(erasure.folder, search.needles)]
        left += artefacts_with(erasure.registry.models, search.needles)
        stage.say(f"{len(left):,} places")
    return _close(erasure, replace(begun, versions_after=_versions(erasure.folder)), left, pointer)


def _close(erasure: Erasure, begun: Receipt, left: list[str], pointer: Published | None) -> Mapping[str, Any]:
    """The receipt of an erasure that is done; SeqloomError where an id is ``left`` in a place."""
    receipt = replace(begun, status="done", at=_now(), places_after=left, proven=not left)
    write_receipt(erasure.root, receipt)
    summary = receipt.to_plain() | {"seconds": erasure.progress.seconds}
    error = _left(erasure.root, left) if left else None
    record_upkeep(erasure.root, erasure.run_id, erasure.started_at, pointer, summary=summary, error=error)
    if error:
        raise SeqloomError(error)
    return summary


def _left(root: str, places: list[str]) -> str:
    shown = "; ".join(places[:SHOWN_PLACES]) + (" …" if len(places) > SHOWN_PLACES else "")
    return (
        f"{root}: erased users still stand in {len(places):,} places: {shown}; remove what is not the "
        "warehouse's own, delete models whose files hold ids, and run this again"
    )


def _forget(erasure: Erasure, warehouse: Warehouse, lock: Lock | None) -> int:
    """Old versions of every table that has, or had, something of a user.

    LockedError where the lock was lost: files that belong to no version may be another run's.
    """
    named = {place.path for place in erasure.search.places}
    own = {*user_tables(erasure.folder), REJECTED}
    count = 0
    for table in delta_tables(erasure.folder):
        if table in own or any(path.startswith(f"{table}/") for path in named):
            if lock is not None:
                lock.require_held()
            count += forget_old_versions(erasure.folder / table)
    context: Any = warehouse.spark.sparkContext._jvm
    context.org.apache.spark.sql.delta.DeltaLog.clearCache()  # it remembers log entries that are gone
    return count


def _versions(folder: Path) -> dict[str, int]:
    return {
        name: DeltaTable(str(folder / name)).version()
        for name in delta_tables(folder)
        if not name.startswith("ops/")
    }


def _user_column(pointer: Published | None) -> str | None:
    """The source's name for the user id, as published."""
    columns = {} if pointer is None else json.loads(pointer.settings).get("source", {}).get("columns", {})
    name: str | None = columns.get("user_id")
    return name


def _erasure_id(hashes: list[str]) -> str:
    """A name of a set of users: 16 hex digits of the SHA-256 of their keyed hashes."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()[:16]


def _larger(one: dict[Key, int], other: dict[Key, int]) -> dict[Key, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in sorted(one.keys() | other.keys())}


def _unknown(erasure: Erasure) -> ConfigError:
    return ConfigError(
        f"{erasure.root}: none of the {len(erasure.search.users):,} users stands in any table, log or "
        "document here; nothing was changed: check the ids, which are text as in bronze/events"
    )
