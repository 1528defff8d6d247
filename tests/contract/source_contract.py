"""What every source of rows must keep, whatever it reads: a new transport joins by inheriting this class.

A test class gives a `city`: a system whose rows the test writes, with the source that reads it. Values are
text and may be anything a person types; CANARY stands for personal data, which no error may hold.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import pytest

from adapters.base import FAULT, Look, Page, Retry, Source, SourceError

CANARY = "秘密330483199001011234"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)  # 17:00 in Beijing


def no_secret(reference: str) -> str:
    raise KeyError(reference)


class City(Protocol):
    """One city's system under test."""

    incremental: bool  # whether it can be read from a cursor on

    def put(self, rows: list[dict[str, str]]) -> None:
        """Let the system hold exactly these rows; all have the columns of the first."""

    def source(self, **options: Any) -> Source:
        """The source that reads it; `options` go over the ordinary `source:` section."""

    def ruin(self) -> None:
        """Let it show something unreadable that holds CANARY."""

    def go(self) -> None:
        """Let it be out of reach."""


def everything(source: Source, cursor: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
    """All rows of a read, and the cursor it reached."""
    rows: list[dict[str, Any]] = []
    reached = None
    for page in source.pages(cursor):
        rows += [dict(row.data) for row in page.rows]
        # What travels to another process arrives as it was.
        assert [msgspec.msgpack.decode(msgspec.msgpack.encode(row.data)) for row in page.rows] == [
            row.data for row in page.rows
        ]
        reached = page.cursor or reached
    return rows, reached


@contextmanager
def refused(kind: type[SourceError], words: str = "") -> Iterator[None]:
    """The block raises exactly this error, which holds `words` and nothing of a row."""
    with pytest.raises(SourceError) as caught:
        yield
    assert type(caught.value) is kind, caught.value
    assert words in str(caught.value)
    assert caught.value.where
    assert CANARY not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "hide the cause: it may hold a value"


def rows_of(count: int, start: int = 1, **more: str) -> list[dict[str, str]]:
    """Rows as a city has them; `at` rises by a second."""
    return [
        {
            "id": f"{n:05}",
            "name": f"{CANARY} {n}",
            "at": f"2026-11-22 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}",
            **more,
        }
        for n in range(start, start + count)
    ]


class SourceContract:
    """Inherit, and give the fixture `city`."""

    many = 2_500  # more than one page of any transport

    @pytest.fixture
    def city(self) -> City:
        raise NotImplementedError

    def test_every_row_comes_in_order_as_it_stands(self, city: City) -> None:
        rows = [
            {"id": "00123", "name": "甲", "at": "2026-11-22 08:00:00"},
            {"id": "1e5", "name": 'say "x", <b>&amp;</b>', "at": "2026-11-22 08:00:01"},
            {"id": "-007", "name": "=1+1 ｗｉｄｅ 〔2017〕", "at": "2026-11-22 08:00:02"},
            {"id": "true", "name": "𠮷野家", "at": "2026-11-22 08:00:03"},
        ]
        city.put(rows)
        found, _ = everything(city.source())
        assert found == rows

    def test_rows_come_in_pages_with_their_places(self, city: City) -> None:
        city.put(rows_of(self.many))
        pages = list(city.source().pages(None))
        assert len(pages) > 1
        assert [row.data["id"] for page in pages for row in page.rows] == [row["id"] for row in rows_of(self.many)]
        places = [row.where for page in pages for row in page.rows]
        assert len(set(places)) == self.many
        assert CANARY not in "".join(places)

    def test_pages_are_read_as_they_are_asked_for(self, city: City) -> None:
        city.put(rows_of(self.many))
        pages = city.source().pages(None)
        first: Page = next(iter(pages))
        assert 0 < len(first.rows) < self.many
        pages.close()  # type: ignore[attr-defined]

    def test_a_read_of_nothing_ends_with_a_page(self, city: City) -> None:
        city.put(rows_of(1))
        self.empty(city)
        pages = list(city.source().pages(None))
        assert pages
        assert sum(len(page.rows) for page in pages) == 0

    def empty(self, city: City) -> None:
        city.put([])

    def test_the_same_is_read_twice(self, city: City) -> None:
        city.put(rows_of(30))
        source = city.source()
        assert everything(source) == everything(source) == everything(city.source())

    def test_only_the_last_page_carries_a_cursor(self, city: City) -> None:
        city.put(rows_of(self.many))
        cursors = [page.cursor for page in city.source().pages(None)]
        assert all(cursor is None for cursor in cursors[:-1])
        assert (cursors[-1] is not None) == city.incremental

    def test_an_increment_holds_what_is_new_and_may_repeat_the_edge(self, city: City) -> None:
        if not city.incremental:
            return
        city.put(rows_of(100))
        _, reached = everything(city.source())
        assert reached is not None
        city.put(rows_of(103))
        rows, following = everything(city.source(), reached)
        assert [row["id"] for row in rows][-3:] == ["00101", "00102", "00103"]
        assert len(rows) <= 4
        assert following is not None
        assert following > reached

    def test_nothing_new_leaves_the_cursor_where_it_is(self, city: City) -> None:
        if not city.incremental:
            return
        city.put(rows_of(10))
        _, reached = everything(city.source())
        assert everything(city.source(), reached)[1] == reached

    def test_an_unreadable_system_is_for_a_person(self, city: City) -> None:
        city.put(rows_of(3))
        city.ruin()
        with refused(Look):
            everything(city.source())

    def test_a_system_out_of_reach_is_for_later(self, city: City) -> None:
        city.put(rows_of(3))
        city.go()
        with refused(Retry):
            everything(city.source())

    limit: tuple[str, int] = ("max_bytes", 2_000)

    def test_more_than_allowed_is_for_a_person(self, city: City) -> None:
        city.put(rows_of(400))
        with refused(Look, str(self.limit[1])):
            everything(city.source(**{self.limit[0]: self.limit[1]}))

    def test_no_row_of_it_is_faulty(self, city: City) -> None:
        city.put(rows_of(50))
        assert not [row for row in everything(city.source())[0] if FAULT in row]
