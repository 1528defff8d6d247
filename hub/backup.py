"""Backups of a hub's store, and the way back: verified, and never behind what was published.

Rule 1. The head file is no part of a backup and is never replaced by one: it tells how far a restored store must reach.
Rule 2. A backup is taken while nobody appends, and carries what proves it whole. Keys are kept apart: back up the keys folder
by its own way, encrypted as it is.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from hub import audit, note
from hub.canonical import b64
from hub.errors import HubError, Tampered
from hub.export import replace_file
from hub.kinds import Kind
from hub.ledger import HeadFile, Ledger, ReaderSeal, Signs, Trust
from hub.note import VKey
from hub.store.base import Store

STORE, MANIFEST = "store.db", "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a backup holds: whose ledger, how far and with which root (base64), when, and the SHA-256 of its store (hex)."""

    hub: str
    size: int
    root: str
    at: str
    sha256: str


def make(ledger: Ledger, folder: Path, now: datetime) -> Manifest:
    """Write the store and its manifest into a new folder; appends wait meanwhile."""
    folder.mkdir(mode=0o700, parents=True)
    with ledger.head.lock():
        head = ledger.checkpoint()[1]
        ledger.store.backup(folder / STORE)
    found = Manifest(ledger.hub, head.size, b64(head.root), now.isoformat(timespec="seconds"), _digest(folder / STORE))
    # Last, so that a backup that broke off is none.
    replace_file(folder / MANIFEST, json.dumps(asdict(found), indent=1).encode())
    return found


def read(folder: Path) -> Manifest:
    """The manifest of a backup that is whole; HubError otherwise."""
    try:
        found = Manifest(**json.loads((folder / MANIFEST).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise HubError("no whole backup", where=str(folder), mend="name a folder that `backup` made") from error
    if not (folder / STORE).is_file() or _digest(folder / STORE) != found.sha256:
        raise Tampered("the store in this backup is not the one that was backed up", where=str(folder / STORE),
                       mend="use another backup")  # fmt: skip
    return found


def place(folder: Path, store: Path) -> Manifest:
    """Copy a whole backup's store to where the hub keeps it, which must be empty."""
    found = read(folder)
    if store.exists():
        raise HubError("a store is there", where=str(store), mend="stop the hub and move the folder aside; keep it")
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = store.with_name(store.name + ".new")
    shutil.copyfile(folder / STORE, fresh)
    fresh.chmod(0o600)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    # A crash before this leaves no store, and the same command goes on.
    os.replace(fresh, store)
    return found


def set_head(path: Path, raw: bytes, key: VKey) -> None:
    """Make a checkpoint that a partner or witness holds the head file of a machine that lost its own."""
    note.open_checkpoint(raw, key)
    if HeadFile(path).read() is not None:
        raise HubError("a head file is there", where=str(path), mend="restore without --head: this one counts")
    replace_file(path, raw)


def accept(
    store: Store, head: HeadFile, key: VKey, hub: str, trust: Trust, signs: Signs, kinds: Mapping[str, Kind],
    digest_key: bytes,
) -> dict[str, Any]:
    """Check a restored store against the head file and hash all of it again."""
    if head.read() is None:
        raise Tampered(
            "no head file tells how far this ledger was published", where=str(head.path),
            mend="give the newest checkpoint that a partner or a witness holds with --head (a node keeps it as "
            "copy-head/checkpoint, a hub serves it at /ledger/witnessed)",
        )  # fmt: skip
    ledger = Ledger(store, head, ReaderSeal(key), hub, trust, signs=signs)
    ledger.open()
    report = audit.fsck(ledger, kinds, digest_key)
    if report.problems:
        raise Tampered("the restored store does not hold", where="store", mend="\n".join(report.problems))
    with store.transaction():
        store.drop_sessions()  # Who was signed in when the backup was made, or has left since, is not signed in now.
    return {"size": report.size, "root": report.root, "records": report.records}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        found = sha256()
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()
