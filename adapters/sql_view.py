"""Front tables and views that a city opens to us: read only, streamed, through SQLAlchemy Core.

Owns the statement. The database is opened read only (SQLite by mode=ro, others by a READ ONLY
transaction where they know one) and nothing but SELECT is ever sent. Where every change is a row
(i/u/d), the newest row of a key stands (`last_per:`, newest by `order:`); the operation column says
what it was. Values become plain JSON ones: times in ISO spelling, decimals and binary numbers as
text. A row stands by its number in the read: keys may be personal.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    NoSuchTableError,
    SQLAlchemyError,
)

from adapters import cursor as cursors
from adapters import table_file
from adapters.base import Look, Page, Retry, Row, Source
from adapters.connection import Connection
from adapters.declared import Span, Words
from adapters.files import positive
from adapters.table_file import number_text, paged

_FETCH = 1_000
_ASKED = 500


class _Lag(fields.Field[Any]):
    """A length of time for a time column, a whole number for a numbered one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12:
            return value
        if isinstance(value, str):
            return Span().deserialize(value)
        raise ValidationError('expected a length of time such as "10 minutes", or a whole number')


class _Incremental(Schema):
    column = fields.String(required=True)
    lag = _Lag()


class _Inventory(Schema):
    by = fields.String(required=True)
    version = fields.String(required=True)
    columns = fields.List(fields.String(), load_default=list)


class SourceYaml(Schema):
    table = fields.String(required=True, validate=validate.Length(min=1, max=128))
    schema = fields.String()
    columns = fields.List(fields.String(), validate=validate.Length(min=1))
    order = Words(required=True)
    incremental = fields.Nested(_Incremental)
    inventory = fields.Nested(_Inventory)
    last_per = Words()
    timeout = Span()
    max_rows = positive(5_000_000)


def plain_value(value: Any) -> Any:
    """A database's value as JSON has it."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**18 else str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (date, time)):
        return value.isoformat()
    return _bytes_text(value) if isinstance(value, bytes) else str(value)


def _bytes_text(value: bytes) -> Any:
    """Bytes as the text they are, or as a map that no rule takes for text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"bytes": len(value)}


def _address(text: str, where: str, base: Path) -> sa.URL:
    """The database's address, a SQLite one turned to read only and started at `base` where it is relative."""
    try:
        url = sa.make_url(text)
    except ArgumentError:
        raise Look(where, "connection.database: not a database address", "such as postgresql+psycopg://…") from None
    if url.get_backend_name() != "sqlite" or not url.database:
        return url
    path = base / url.database
    if not path.is_file():
        raise Retry(where, "its database file is not there", "check connection.database")
    return sa.make_url("sqlite://").set(database=f"{path.resolve().as_uri()}", query={"mode": "ro", "uri": "true"})


_READ_ONLY = {
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET TRANSACTION READ ONLY",
    "mariadb": "SET TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
}


class SqlView:
    """One table or view of a city's database."""

    def __init__(self, options: Mapping[str, Any], connection: Connection, columns: set[str]) -> None:
        self._options, self._connection, self._columns = options, connection, columns
        self._where = f"{connection.where}: {options['table']}"

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """The rows from `cursor` less the lag on (all for None); the last page carries the cursor."""
        reached: list[Any] = []

        def statement(link: sa.Connection, table: sa.Table) -> sa.Select[Any]:
            reached.append(self._highest(link, table))
            return self._statement(table, cursor, reached[0])

        held: Page | None = None
        for page in self._selected(statement):
            if held is not None:
                yield held
            held = page
        if held is not None:
            yield held._replace(cursor=self._reached(cursor, reached[0]))

    def listing(self) -> Iterator[Page]:
        """The columns of `inventory:` alone, of every row."""
        inventory = self._options["inventory"]
        names = dict.fromkeys([inventory["by"], inventory["version"], *inventory["columns"]])
        yield from self._selected(lambda link, table: self._statement(table, None, None, [table.c[n] for n in names]))

    def fetch(self, rows: Sequence[Row]) -> Iterator[Page]:
        """The whole rows with these values of `by:`."""
        by = self._options["inventory"]["by"]
        values = list(dict.fromkeys(row.data[by] for row in rows))
        for n in range(0, len(values), _ASKED):
            yield from self._selected(partial(self._asked, by, values[n : n + _ASKED]))

    def _asked(self, by: str, values: Sequence[Any], link: sa.Connection, table: sa.Table) -> sa.Select[Any]:
        return self._statement(table, None, None, only=(by, values))

    def _selected(self, statement: Callable[[sa.Connection, sa.Table], sa.Select[Any]]) -> Iterator[Page]:
        with self._open() as link:
            try:
                select = statement(link, self._table(link))
                rows = link.execution_options(stream_results=True, yield_per=_FETCH).execute(select)
                yield from paged(self._rows(rows))
            except NoSuchTableError:
                raise Look(self._where, "no such table or view", "check table: and the account's rights") from None
            except (DBAPIError, SQLAlchemyError) as error:
                raise self._failed(error) from None

    def _reached(self, cursor: str | None, highest: Any) -> str | None:
        if highest is None:
            return cursor
        return cursors.higher(cursor, cursors.not_after(str(plain_value(highest)), self._connection.now()))

    @contextmanager
    def _open(self) -> Iterator[sa.Connection]:
        url = _address(self._connection.need("database"), self._connection.where, self._connection.base)
        try:
            engine = sa.create_engine(url, poolclass=sa.NullPool, **self._patience(url))
        except (NoSuchModuleError, ImportError, ArgumentError, TypeError):
            raise Look(self._connection.where, f"no driver for {url.drivername}", "install it") from None
        try:
            with engine.connect() as link:
                backend = url.get_backend_name()
                if backend in _READ_ONLY:
                    link.exec_driver_sql(_READ_ONLY[backend])
                yield link
        except DBAPIError as error:
            raise self._failed(error) from None
        finally:
            engine.dispose()

    def _patience(self, url: sa.URL) -> dict[str, Any]:
        seconds = self._options["timeout"].total_seconds() if "timeout" in self._options else 30
        names = {"sqlite": "timeout", "postgresql": "connect_timeout", "mysql": "connect_timeout"}
        name = names.get(url.get_backend_name())
        return {"connect_args": {name: int(seconds)}} if name else {}

    def _failed(self, error: Exception) -> Look | Retry:
        """A database's refusal, without its text: that holds the statement and its values."""
        name = type(getattr(error, "orig", None) or error).__name__
        if isinstance(error, DBAPIError) and (error.connection_invalidated or name == "OperationalError"):
            text = str(error.orig)
            if not any(word in text for word in ("no such column", "malformed", "not a database", "decode")):
                return Retry(self._where, f"the database does not answer ({name})")
        return Look(self._where, f"the database refuses to be read ({name})", "check table:, columns and rights")

    def _table(self, link: sa.Connection) -> sa.Table:
        options = self._options
        whole = sa.Table(options["table"], sa.MetaData(), schema=options.get("schema"), autoload_with=link)
        incremental = options.get("incremental")
        wanted = {
            *self._columns,
            *options["order"],
            *options.get("last_per", ()),
            *options.get("columns", ()),
        }
        wanted |= {incremental["column"]} if incremental else set()
        if inventory := options.get("inventory"):
            wanted |= {inventory["by"], inventory["version"], *inventory["columns"]}
        if missing := sorted(wanted - set(whole.columns.keys())):
            mend = "the city's format changed; a column that may be missing says optional: true"
            raise Look(self._where, f"no column {', '.join(missing)}"[:300], mend)
        return whole

    def _highest(self, link: sa.Connection, table: sa.Table) -> Any:
        """Where this read ends: rows that are committed while it runs are left to the next."""
        incremental = self._options.get("incremental")
        if not incremental:
            return None
        return link.execute(sa.select(sa.func.max(_raw(table.c[incremental["column"]])))).scalar()

    def _statement(
        self,
        table: sa.Table,
        cursor: str | None,
        highest: Any,
        shown: Sequence[Any] | None = None,
        only: tuple[str, Sequence[Any]] | None = None,
    ) -> sa.Select[Any]:
        options = self._options
        order, incremental = [table.c[name] for name in options["order"]], options.get("incremental")
        shown = shown or [table.c[name] for name in options.get("columns") or table.columns.keys()]
        limits = [table.c[only[0]].in_(only[1])] if only else []
        if incremental and highest is not None:
            column = _raw(table.c[incremental["column"]])
            limits.append(column <= highest)
            if cursor is not None:
                limits.append(column >= _like(highest, cursors.back(cursor, incremental.get("lag"))))
        if "last_per" not in options:
            return sa.select(*map(_raw, shown)).where(*limits).order_by(*order)
        keys: Sequence[Any] = [table.c[name] for name in options["last_per"]]
        newest = sa.func.row_number().over(partition_by=keys, order_by=[each.desc() for each in order])
        ranked = sa.select(*table.columns, newest.label("nth_newest")).where(*limits).subquery()
        outer = [_raw(ranked.c[each.name]) for each in shown]
        in_order = [ranked.c[each.name] for each in order]
        return sa.select(*outer).where(ranked.c.nth_newest == 1).order_by(*in_order)

    def _rows(self, rows: sa.CursorResult[Any]) -> Iterator[Row]:
        names, table = list(rows.keys()), self._options["table"]
        for n, values in enumerate(rows, 1):
            if n > self._options["max_rows"]:
                raise Look(self._where, f"more than {self._options['max_rows']} rows", "raise max_rows:")
            yield Row(dict(zip(names, map(plain_value, values), strict=True)), f"{table} row {n}")


def _raw(column: Any) -> Any:
    """A column as the driver gives it: SQLAlchemy's own conversions round numbers and stop at odd dates."""
    return sa.type_coerce(column, sa.types.NullType()).label(column.name)


def _like(example: Any, text: str) -> Any:
    """A cursor's text as the kind of value that its column holds."""
    try:
        if isinstance(example, datetime):
            moment = datetime.fromisoformat(text)
            return moment if example.tzinfo else moment.replace(tzinfo=None)
        if isinstance(example, (int, Decimal)):
            return type(example)(text)
        if isinstance(example, float):
            return float(text)
        if isinstance(example, date):
            return date.fromisoformat(text[:10])
    except (ValueError, ArithmeticError):
        pass
    return text


def source(options: Mapping[str, Any], connection: Connection, columns: set[str]) -> Source:
    """The table or view as a source; `columns` are those that it must have."""
    return SqlView(options, connection, columns)


def sample(options: Mapping[str, Any], path: Path, columns: set[str]) -> Source:
    """A saved part of the table as CSV, its columns in the first line."""
    return table_file.sample({"format": "csv"}, path, columns)
