"""Chooses the one copy of SQLite that may open a store in this process.

SQLite 3.7.0 to 3.51.2 can corrupt a WAL database when two connections write and checkpoint at once, so WAL is used only
from 3.51.3 on and a rollback journal (TRUNCATE) before that. Two copies of SQLite on one file in one process drop each
other's locks: every connection of the hub comes from here, and the copy is the one sqlite-utils has chosen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import utils

from hub.errors import HubError

WAL_SOUND = (3, 51, 3)
OLDEST = (3, 35, 0)
BUSY = 30  # seconds

sqlite3: Any = utils.sqlite3  # type: ignore[attr-defined]


def version() -> tuple[int, ...]:
    """The version of the SQLite in use."""
    return tuple(int(part) for part in sqlite3.sqlite_version.split("."))


def journal_mode() -> str:
    """WAL where it is sound, a rollback journal otherwise."""
    return "WAL" if version() >= WAL_SOUND else "TRUNCATE"


@contextmanager
def opening(path: Path, what: str, mend: str) -> Iterator[None]:
    """While a file is opened, or made: its folder and it are its owner's alone; HubError in these words where it is damaged."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise HubError(what, where=str(path), mend=mend) from error
    path.chmod(0o600)


def connect(path: Path, page: int) -> Any:
    """A connection that waits for others, begins no transaction by itself and leaves a commit durable.

    `page` is the size of a new file's pages in bytes: whatever changes in one, all of it is written.
    """
    db = sqlite3.connect(str(path), timeout=BUSY, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA page_size = {page}")
    db.execute(f"PRAGMA journal_mode = {journal_mode()}")
    for pragma in ("synchronous = FULL", f"busy_timeout = {BUSY}000", "trusted_schema = OFF"):
        db.execute(f"PRAGMA {pragma}")
    return db
