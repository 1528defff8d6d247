"""A source that lists its rows with their versions is read in full only where something differs."""

import sqlite3

import pytest
from city_parts import FILES, TABLE, Town

from adapters.base import Page
from adapters.declared import DeclarationError
from adapters.sql_view import SqlView

VIEW = """\
    transport: sql_view
    source: {table: stalls, order: [编号], inventory: {by: 编号, version: 版本}}
"""
TRANSPORT = TABLE[TABLE.index("    transport:") : TABLE.index("    completeness:")]


class Front:
    """The city's table of stalls, and what was asked of it."""

    def __init__(self, town, monkeypatch):
        self.path, self.whole, self.lists = town.folder / "front.db", [], 0
        self._do("CREATE TABLE stalls (编号 TEXT, 摊主 TEXT, 费用 TEXT, 检查日 TEXT, 更新 TEXT, 版本 INTEGER)")
        town._connection = lambda code: {"database": f"sqlite:///{self.path}"}
        town.declare(FILES, (TRANSPORT, VIEW), more="    ignore: [版本]\n")
        fetch, listing = SqlView.fetch, SqlView.listing

        def counted(view, rows):
            for page in fetch(view, rows):
                self.whole += [row.data["编号"] for row in page.rows]
                yield page

        def listed(view):
            self.lists += 1
            yield from listing(view)

        monkeypatch.setattr(SqlView, "fetch", counted)
        monkeypatch.setattr(SqlView, "listing", listed)

    def _do(self, statement, *values):
        db = sqlite3.connect(self.path)
        with db:
            db.execute(statement, values)
        db.close()

    def put(self, code, fee=10, version=1):
        self.drop(code)
        self._do("INSERT INTO stalls VALUES (?, ?, ?, '2026-11-20', '2026-11-20 08:00:00', ?)",
                 str(code), f"摊主{code}", str(fee), version)  # fmt: skip

    def drop(self, code):
        self._do("DELETE FROM stalls WHERE 编号 = ?", str(code))


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path, web=False) as made:
        yield made


@pytest.fixture
def front(town, monkeypatch):
    made = Front(town, monkeypatch)
    for n in range(5):
        made.put(n)
    return made


def told(outcome):
    pull = outcome.pull
    return pull.state, pull.read, pull.stored, pull.unchanged, pull.retracted, pull.quarantined


def test_only_what_differs_is_read_in_full(town, front):
    assert told(town.pull(full=True)) == ("succeeded", 5, 5, 0, 0, 0) and front.lists == 0, "nothing is held yet"
    assert told(town.pull(full=True)) == ("succeeded", 5, 0, 5, 0, 0) and front.whole == []
    front.put(2, fee=11, version=2)
    front.put(9)
    front.drop(4)
    assert told(town.pull(full=True)) == ("succeeded", 5, 2, 3, 1, 0)
    assert sorted(front.whole) == ["2", "9"] and town.fees() == {"0": "10", "1": "10", "2": "11", "3": "10", "9": "10"}
    front.whole.clear()
    town.pull(full=True)
    assert front.whole == []
    town.sound()


def test_a_new_version_of_the_same_content_is_read_once_and_signed_never(town, front):
    town.pull(full=True)
    front.put(3, version=7)
    for wanted in (["3"], []):
        front.whole.clear()
        assert told(town.pull(full=True)) == ("succeeded", 5, 0, 5, 0, 0) and front.whole == wanted


def test_a_changed_declaration_has_every_row_read_again(town, front):
    town.pull(full=True)
    town.declare(FILES, (TRANSPORT, VIEW), ("unit: 元", "unit: 万元"), more="    ignore: [版本]\n")
    assert told(town.pull(full=True)) == ("succeeded", 5, 5, 0, 0, 0) and len(front.whole) == 5
    assert town.fees()["1"] == "100000"


def test_a_row_taken_back_and_shown_again_is_read_again(town, front):
    town.pull(full=True)
    front.drop(1)
    town.pull(full=True)
    front.put(1)
    assert told(town.pull(full=True)) == ("succeeded", 5, 1, 4, 0, 0) and town.fees()["1"] == "10"


def test_a_refused_row_is_read_again_each_time_and_keeps_its_record(town, front):
    town.pull(full=True)
    front.put(1, fee="many", version=2)
    for _ in range(2):
        front.whole.clear()
        assert told(town.pull(full=True)) == ("succeeded", 5, 0, 4, 0, 1) and front.whole == ["1"]
    assert town.fees()["1"] == "10"


def test_a_listed_row_that_does_not_come_is_not_taken_for_vanished(town, front, monkeypatch):
    town.pull(full=True)
    front.put(1, version=2)
    monkeypatch.setattr(SqlView, "fetch", lambda view, rows: iter([Page([])]))
    outcome = town.pull(full=True)
    assert outcome.pull.state == "incomplete" and "0 rows came of the 1" in outcome.pull.problem
    assert len(town.fees()) == 5


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("completeness: snapshot", "completeness: delta", "needs rows that stand by themselves"),
        ("key: [stall_code]", "key: [stall_code, ordinal]", "needs rows that stand by themselves"),
        ("key: [stall_code]", "key: [stall_code, checked_on]", "add to columns: 检查日"),
    ],
)
def test_a_list_that_cannot_tell_whose_row_it_is_is_refused(town, old, new, words):
    with pytest.raises(DeclarationError, match=words) as caught:
        town.declare(FILES, (TRANSPORT, VIEW), (old, new))
    assert f"{FILES}.yaml:" in str(caught.value)
