"""Front tables keep the contract of sources: read only, the newest row of a key, a cursor with a lag."""

import sqlite3
from pathlib import Path

import pytest
from source_contract import CANARY, NOW, SourceContract, everything, no_secret, refused, rows_of

from adapters import sql_view
from adapters.base import Look, Retry
from adapters.connection import Connection


def execute(path: Path, *statements, many=()):
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    for statement, rows in many:
        db.executemany(statement, rows)
    db.commit()
    db.close()


def reading(path: Path, needed=("id",), address: str = "", **options):
    options = {"table": "front", "order": ["at", "id"], **options}
    connection = Connection(
        "330503 cases", {"database": address or f"sqlite:///{path}"}, no_secret, lambda: NOW, path.parent
    )
    return sql_view.source(sql_view.SourceYaml().load(options), connection, set(needed))


class FrontTable:
    """A SQLite front table."""

    incremental = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / "front.db"

    def put(self, rows):
        execute(
            self.path,
            "CREATE TABLE IF NOT EXISTS front (id TEXT, name TEXT, at TEXT)",
            "DELETE FROM front",
            many=[("INSERT INTO front VALUES (?, ?, ?)", [tuple(row.values()) for row in rows])],
        )

    def source(self, **options):
        return reading(self.path, incremental={"column": "at"}, **options)

    def ruin(self):
        self.path.write_bytes(CANARY.encode() * 100)

    def go(self):
        self.path.unlink()


class TestSqlView(SourceContract):
    limit = ("max_rows", 399)

    @pytest.fixture
    def city(self, tmp_path):
        return FrontTable(tmp_path)


@pytest.fixture
def front(tmp_path):
    path = tmp_path / "front.db"

    def make(rows, columns="id, at, op, n"):
        execute(path, "DROP TABLE IF EXISTS front", f"CREATE TABLE front ({columns})")
        execute(path, many=[(f"INSERT INTO front VALUES ({', '.join('?' * len(columns.split(',')))})", rows)])
        return path

    return make


CHANGES = [
    ("a", "2026-11-22 08:00:00", "i", 1),
    ("b", "2026-11-22 08:00:00", "i", 2),
    ("a", "2026-11-22 09:00:00", "u", 3),
    ("b", "2026-11-22 10:00:00", "d", 4),
    ("c", "2026-11-22 10:00:00", "i", 5),
]


def test_the_newest_row_of_a_key_stands(front):
    path = front(CHANGES)
    found, _ = everything(reading(path, last_per=["id"], order=["at", "n"]))
    assert [(row["id"], row["op"]) for row in found] == [("a", "u"), ("b", "d"), ("c", "i")]


def test_a_cursor_by_number_with_a_lag_in_numbers(front):
    path = front(CHANGES)
    feed = reading(path, order=["n"], incremental={"column": "n", "lag": 2})
    _, reached = everything(feed)
    assert reached == "5"
    assert [row["n"] for row in everything(feed, "4")[0]] == [2, 3, 4, 5]


def test_a_cursor_by_time_with_a_lag_in_time(front):
    path = front(CHANGES)
    feed = reading(path, order=["n"], incremental={"column": "at", "lag": "1 hour"})
    rows, reached = everything(feed, "2026-11-22 10:00:00")
    assert ([row["n"] for row in rows], reached) == ([3, 4, 5], "2026-11-22 10:00:00")


def test_a_row_dated_in_the_future_does_not_run_away_with_the_cursor(front):
    path = front([*CHANGES, ("z", "2999-12-31 00:00:00", "i", 6)])
    rows, reached = everything(reading(path, incremental={"column": "at"}))
    assert len(rows) == 6
    assert reached == "2026-11-22 17:00:00"


def test_only_the_columns_named_come_and_must_be_there(front):
    path = front(CHANGES)
    assert list(everything(reading(path))[0][0]) == ["id", "at", "op", "n"]
    assert list(everything(reading(path, columns=["id", "op"]))[0][0]) == ["id", "op"]
    with refused(Look, "no column gone"):
        everything(reading(path, ("id", "gone")))
    with refused(Look, "no such table or view"):
        everything(reading(path, table="fornt"))


def test_numbers_and_times_become_plain(front):
    path = front([(1, 0.1, 2.5, None), (2, 1e-7, 10**17, b"\xff")], "id INTEGER, at DATETIME, op NUMERIC, n BLOB")
    found, _ = everything(reading(path, order=["id"]))
    assert found == [
        {"id": 1, "at": "0.1", "op": "2.5", "n": None},
        {"id": 2, "at": "0.0000001", "op": 10**17, "n": {"bytes": 1}},
    ]


def test_the_database_cannot_be_written_through_the_connection(front):
    path = front(CHANGES)
    feed = reading(path)
    with feed._open() as link, pytest.raises(Exception, match="readonly"):
        link.exec_driver_sql("DELETE FROM front")


def test_reading_creates_nothing(tmp_path):
    with refused(Retry, "database file is not there"):
        everything(reading(tmp_path / "gone.db"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["no address", "nosuch://host/db", "postgresql+nosuchdriver://h/db"])
def test_addresses_that_cannot_be_used(tmp_path, address):
    with refused(Look):
        everything(reading(tmp_path / "x", address=address))


def test_a_locked_database_is_for_later(front):
    path = front(CHANGES)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with refused(Retry, "does not answer"):
        everything(reading(path, timeout="1 second"))
    holder.close()


def test_a_row_committed_between_the_two_questions_is_left_to_the_next(tmp_path, monkeypatch):
    city = FrontTable(tmp_path)
    city.put(rows_of(3))
    feed, ask = city.source(), sql_view.SqlView._statement

    def late(*asked):
        execute(city.path, "INSERT INTO front VALUES ('99999', 'late', '2026-11-22 16:00:00')")
        return ask(*asked)

    monkeypatch.setattr(sql_view.SqlView, "_statement", late)
    rows, reached = everything(feed)
    assert [row["id"] for row in rows] == ["00001", "00002", "00003"]
    monkeypatch.undo()
    assert everything(feed, reached)[0][-1]["id"] == "99999"


def test_a_row_committed_while_the_read_runs_is_left_to_the_next(tmp_path):
    city = FrontTable(tmp_path)
    city.put(rows_of(2_500))
    execute(city.path, "PRAGMA journal_mode=WAL")
    pages = city.source().pages(None)
    read = [row.data["id"] for row in next(pages).rows]
    execute(city.path, "INSERT INTO front VALUES ('99999', 'late', '2026-11-22 16:00:00')")
    last = None
    for page in pages:
        read += [row.data["id"] for row in page.rows]
        last = page.cursor
    assert "99999" not in read
    assert [row["id"] for row in everything(city.source(), last)[0]][-1] == "99999"
