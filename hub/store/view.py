"""A read-only SQL view of exported records, for a city's own system to query; no part of the store itself."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from hub.store import engine


def write_view(path: Path, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Put one table and a view over it into the file, which is left mode 0400; other kinds' tables stay."""
    if path.exists():
        os.chmod(path, 0o600)
    connection = engine.sqlite3.connect(str(path))
    try:
        os.chmod(path, 0o600)
        db = Database(connection)
        table = db[f"{name}_data"]
        db[name].drop(ignore=True)
        table.drop(ignore=True)
        table.insert_all((dict(zip(columns, row, strict=True)) for row in rows), pk=("origin", "id"))  # type: ignore[union-attr]
        db.create_view(name, f'SELECT * FROM "{name}_data"', replace=True)
        connection.commit()
    finally:
        connection.close()
        os.chmod(path, 0o400)
