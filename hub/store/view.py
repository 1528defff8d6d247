"""A read-only SQL view of exported records, for a city's own system to query; no part of the store itself."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlite_utils import Database

from hub.store import engine


class Table(NamedTuple):
    """The rows of one kind, by columns; `origin` and `id` name a row."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def write_views(path: Path, tables: Sequence[Table]) -> None:
    """Write a file with a view of each table in place of the one before; it is left mode 0400."""
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    connection = engine.sqlite3.connect(str(fresh))
    try:
        db = Database(connection)
        for name, columns, rows in tables:
            data: Any = db[f"{name}_data"]
            data.insert_all((dict(zip(columns, row, strict=True)) for row in rows), pk=("origin", "id"))
            db.create_view(name, f'SELECT * FROM "{name}_data"')
        connection.commit()
    finally:
        connection.close()
    fresh.chmod(0o400)
    os.replace(fresh, path)
