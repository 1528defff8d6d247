"""Writes what a partner may see for its own system: CSV, JSON lines, or a read-only SQL view.

Text that a spreadsheet would take for a formula is written behind an apostrophe (CSV only); lists and objects are JSON.
Files are replaced whole, mode 0600 (the SQL view 0400), so that a reader never meets a half-written one; what may no
longer be seen goes with the next export.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hub.kinds import Kind
from hub.store.view import Table, write_views

# Also as full-width characters: spreadsheets set to Chinese or Japanese take these for formulas too.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def export_records(
    folder: Path, how: str, records: Callable[[str], Iterator[dict[str, Any]]], kinds: Mapping[str, Kind]
) -> list[dict[str, Any]]:
    """Write one file (csv, json) or one table and view (sqlite) per kind that holds records; tells what was written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written, tables = [], []
    for name, kind in sorted(kinds.items()):
        rows, label = list(records(name)), name.replace("/", "_v")
        columns = ["origin", "id", "rev", *(each for each in ("disowned", *kind.fields) if any(each in row for row in rows))]
        path = folder / ("records.sqlite" if how == "sqlite" else f"{label}.{how}")
        if not rows:
            if how != "sqlite":
                path.unlink(missing_ok=True)
            continue
        if how == "sqlite":
            tables.append(Table(label, columns, [[_plain(row.get(column)) for column in columns] for row in rows]))
        else:
            replace_file(path, _csv(columns, rows) if how == "csv" else _lines(rows))
        written.append({"kind": name, "records": len(rows), "file": str(path)})
    if how == "sqlite":
        write_views(folder / "records.sqlite", tables)
    return written


def _plain(value: Any) -> str | int | None:
    if value is None or isinstance(value, str | int):
        return int(value) if isinstance(value, bool) else value
    return json.dumps(value, ensure_ascii=False)


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet runs: text that begins like a formula gets an apostrophe in front."""
    plain = _plain(value)
    return "'" + plain if isinstance(plain, str) and plain.startswith(_FORMULA) else plain


def _csv(columns: list[str], rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([safe_cell(row.get(column)) for column in columns])
    return text.getvalue().encode("utf-8-sig")


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows).encode()


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole, mode 0600, in place of the one before."""
    fresh = path.with_suffix(path.suffix + ".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
