"""Ten sample city systems on loopback: real HTTP servers, databases and files whose data the caller may edit.

Owns a directory: `sample.json` (what it holds), `edits.ndjson` (what was done to it since), one folder per
city. All data follow from seed, size, first day and the edits, so a second start on the same directory
serves the same rows. `truth` comes from the generator's records, never from what was written and never
through a declaration. Files are replaced whole, so a reader sees the old or the new one.
"""

import csv
import io
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self
from xml.sax.saxutils import escape

from adapters.sample.books import Book, Dirt, Row, books
from adapters.sample.generator import Body, parties, place, seeded, settle
from adapters.sample.servers import CHINA, CountyGateway, Gateway, IrsGateway, TokenGateway

_ALLIES = {"330522": "zhewan", "330523": "zhewan", "341882": "zhewan"}  # all others work together in jiahu
_HOME = {"jiahu": "330483", "zhewan": "330522"}


class Revision(NamedTuple):
    """What an edit made of a record: operation i, u or d, the record, when, and at which edit of its feed."""

    op: str
    body: Body
    at: datetime
    turn: int


@dataclass
class Record:
    """One record of a city and every revision of it."""

    number: int
    dirt: Dirt
    revisions: list[Revision]
    spoilt: bool = False

    @property
    def last(self) -> Revision:
        return self.revisions[-1]

    @property
    def gone(self) -> bool:
        return self.last.op == "d"


@dataclass
class Shelf:
    """A feed's book and its records, and how many edits it has seen."""

    book: Book
    records: list[Record] = field(default_factory=list)
    edits: int = 0

    def live(self) -> list[Record]:
        return [record for record in self.records if not record.gone and not record.spoilt]


class SampleCities:
    """The sample city systems of a directory, running while the context is open.

    `connections` and `secrets` are what a hub needs to reach them: overrides of each declaration's
    `connection:`, and the secrets behind its references. Raises ValueError where the directory holds another
    sample.
    """

    def __init__(
        self,
        directory: Path,
        *,
        seed: int = 1,
        size: int = 60,
        now: Callable[[], datetime] = lambda: datetime.now(CHINA),
    ) -> None:
        self.directory, self.seed, self.size, self.now = directory, seed, size, now
        self.connections: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, str] = {}
        self.gateways: dict[str, Gateway] = {}
        self._lock = threading.RLock()
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._served: dict[tuple[str, str], list[Row]] = {}
        self._stopped: set[str] = set()
        self._pools: dict[str, tuple[list[Body], list[Body]]] = {}

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        today = self._first_day()
        self._shelves = {at: self._fill(at, book, today) for at, book in books().items()}
        self._replay(today)
        self._open_gateways()
        for code, feed in self._shelves:
            self._come_back(code)
            self._publish(code, feed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gateway in self.gateways.values():
            gateway.stop()

    # -------- what a test asks and does

    def feeds(self) -> list[tuple[str, str]]:
        """Every (code, feed)."""
        return list(self._shelves)

    def truth(self, code: str, feed: str) -> list[Body]:
        """What a right reading of this feed must give now: bodies, in the order of the city's numbers."""
        with self._lock:
            shelf = self._shelves[code, feed]
            return [shelf.book.knows(r.last.body, r.dirt, r.last.at) for r in shelf.live()]

    def add(self, code: str, feed: str, n: int = 1) -> None:
        """Let the city write `n` new records."""
        self._edit("add", code, feed, n)

    def change(self, code: str, feed: str, n: int = 1) -> None:
        """Let the city change `n` of its records."""
        self._edit("change", code, feed, n)

    def drop(self, code: str, feed: str, n: int = 1) -> None:
        """Let the city delete `n` of its records, in the way its system does."""
        self._edit("drop", code, feed, n)

    def spoil(self, code: str, feed: str) -> None:
        """Let the city write a row that cannot be mapped."""
        self._edit("spoil", code, feed, 1)

    def stop(self, code: str) -> None:
        """Take the city's system away: connections are refused, folders are gone."""
        with self._lock:
            self._stopped.add(code)
            if code in self.gateways:
                self.gateways[code].stop()
            elif (self.directory / code).exists():
                (self.directory / code).rename(self.directory / f"{code}.away")

    def resume(self, code: str) -> None:
        """Bring it back, at the same address."""
        with self._lock:
            self._stopped.discard(code)
            if code in self.gateways:
                self.gateways[code].start()
            self._come_back(code)

    def forget_spoilt(self, code: str, feed: str) -> None:
        """Take the rows that cannot be mapped out of a feed, until the next start."""
        with self._lock:
            shelf = self._shelves[code, feed]
            shelf.records = [record for record in shelf.records if not record.spoilt]
            self._publish(code, feed)

    # -------- the records

    def _first_day(self) -> date:
        """The day that the first start made the data for; ages and stages follow from it."""
        path = self.directory / "sample.json"
        if not path.exists():
            _replace(
                path,
                json.dumps({"seed": self.seed, "size": self.size, "today": self.now().date().isoformat()}).encode(),
            )
        held = json.loads(path.read_text(encoding="utf-8"))
        if (held["seed"], held["size"]) != (self.seed, self.size):
            raise ValueError(
                f"{self.directory} holds the sample of seed {held['seed']}, size {held['size']}; use another directory"
            )
        return date.fromisoformat(held["today"])

    def _fill(self, at: tuple[str, str], book: Book, today: date) -> Shelf:
        shelf = Shelf(book)
        start = datetime.combine(today, time(), CHINA) - timedelta(days=1)
        for n in range(self.size):
            self._write(at, shelf, start + timedelta(seconds=n), today, spoilt=n >= self.size - book.spoilt)
        for record in shelf.records[: book.deleted]:
            record.revisions.append(Revision("d", record.last.body, start + timedelta(seconds=self.size), 0))
        return shelf

    def _write(self, at: tuple[str, str], shelf: Shelf, when: datetime, today: date, spoilt: bool) -> None:
        number = len(shelf.records) + 1
        name = f"{self.seed}/{at[0]}/{at[1]}/{number}"
        body = shelf.book.make(seeded(name), number, today, self._party_of(at[0]))
        shelf.records.append(Record(number, Dirt(name), [Revision("i", body, when, shelf.edits)], spoilt))

    def _party_of(self, code: str) -> Callable[[Random], Body]:
        """Who a record of this city is about: mostly its own people, one in six also known to its allies."""
        pool = self._pools.get(code)
        if pool is None:
            where, ally = place(code), _ALLIES.get(code, "jiahu")
            shared = parties(seeded(f"{self.seed}/{ally}"), place(_HOME[ally]), 12)
            moving = seeded(f"{self.seed}/{code}/parties")
            pool = self._pools[code] = (
                parties(moving, where, 40),
                [settle(moving, where, party) for party in shared],
            )
        own, known = pool
        return lambda random: random.choice(known if random.random() < 1 / 6 else own)

    def _edit(self, do: str, code: str, feed: str, n: int) -> None:
        with self._lock:
            today = self._first_day()
            for _ in range(n):
                edit = {
                    "do": do,
                    "code": code,
                    "feed": feed,
                    "at": self.now().astimezone(CHINA).isoformat(timespec="seconds"),
                }
                with (self.directory / "edits.ndjson").open("a", encoding="utf-8") as journal:
                    journal.write(json.dumps(edit) + "\n")
                self._apply(edit, today)
            self._publish(code, feed)

    def _replay(self, today: date) -> None:
        journal = self.directory / "edits.ndjson"
        if journal.exists():
            for line in journal.read_text(encoding="utf-8").splitlines():
                self._apply(json.loads(line), today)

    def _apply(self, edit: dict[str, str], today: date) -> None:
        at, when = (edit["code"], edit["feed"]), datetime.fromisoformat(edit["at"])
        shelf = self._shelves[at]
        shelf.edits += 1
        random = seeded(f"{self.seed}/{at}/{shelf.edits}")
        if edit["do"] in ("add", "spoil"):
            self._write(at, shelf, when, today, edit["do"] == "spoil")
            return
        record = random.choice(shelf.live())
        op, body = "d", record.last.body
        if edit["do"] == "change":
            op, body = "u", shelf.book.revise(random, body)
        record.revisions.append(Revision(op, body, when, shelf.edits))

    # -------- rows, as the city's system holds them

    def rows(self, code: str, feed: str) -> list[Row]:
        """A feed's rows in its own columns."""
        with self._lock:
            key = (code, feed)
            if key not in self._served:
                self._served[key] = list(self._spell(self._shelves[key], code))
            return self._served[key]

    def columns(self, code: str, feed: str) -> list[str]:
        """A feed's columns, whether it has rows or not."""
        shelf = self._shelves[code, feed]
        one = replace(shelf, records=[replace(shelf.records[0], revisions=shelf.records[0].revisions[:1])])
        return list(next(iter(self._spell(one, code))))

    def _spell(self, shelf: Shelf, code: str) -> Iterable[Row]:
        book = shelf.book
        if book.history:
            written = [(revision, record) for record in shelf.records for revision in record.revisions]
            written.sort(key=lambda each: (each[0].turn, each[0].at, each[1].number))
            for n, ((op, body, at, _), record) in enumerate(written, 1):
                front = {
                    "cd_id": f"{code}{n:09d}",
                    "cd_time": f"{at:%Y-%m-%d %H:%M:%S}",
                    "cd_source": code,
                    "cd_batch": f"{at:%Y%m%d}00001",
                    "cd_operation": op,
                }
                yield front | self._row(book, record, body, at)
            return
        for record in shelf.records:
            op, body, at, _ = record.last
            if record.gone and book.operation is None:
                continue
            row = self._row(book, record, body, at)
            if book.operation:
                row[book.operation] = op.upper()
            yield row
            if record.number > book.deleted and record.number <= book.deleted + book.repeats:
                yield dict(row)

    def _row(self, book: Book, record: Record, body: Body, at: datetime) -> Row:
        row = book.row(book.knows(body, record.dirt, at), record.dirt, at)
        if record.spoilt:
            row[book.spoil[0]] = book.spoil[1]
        return row

    # -------- where they stand

    def _publish(self, code: str, feed: str) -> None:
        """Bring what the city's system shows up to date with its records."""
        self._served.pop((code, feed), None)
        rows, stem = self.rows(code, feed), f"{code}_{self._shelves[code, feed].edits:06d}"
        folder = self.directory / (f"{code}.away" if code in self._stopped else code)
        if code in self.gateways:
            return
        folder.mkdir(exist_ok=True)
        columns = self.columns(code, feed)
        match code:
            case "330503" | "330523":
                write_table(folder / "front.db", TABLES[code, feed], columns, rows)
                self.connections[code] = {"database": f"sqlite:///{(self.directory / code / 'front.db').resolve()}"}
                return
            case "330522" if feed == "transfers":
                for n, row in enumerate(rows, 1):
                    _replace(folder / f"YS_{n:06d}.xml", xml_message(code, feed, f"{n:06d}", [row]))
                for path in sorted(folder.glob("YS_*.xml"))[len(rows) :]:
                    path.unlink()
            case "330522":
                _replace(folder / f"CF_{stem}.xml", xml_message(code, feed, stem, rows))
            case "330483100":
                _replace(folder / f"检查台账_{stem}.xlsx", workbook(columns, rows, "乌镇镇行政检查台账"))
            case "330503102":
                _replace(folder / f"jc_{stem}.tsv", table_text(columns, rows, "\t").encode("utf-8-sig"))
            case _:
                content = table_text(columns, rows, ",").encode("gb18030")
                _replace(folder / f"{FILES[code, feed]}_{stem}.csv", content)
        self.connections[code] = {"directory": str((self.directory / code).resolve())}

    def _come_back(self, code: str) -> None:
        away = self.directory / f"{code}.away"
        if away.exists():
            away.rename(self.directory / code)

    def _open_gateways(self) -> None:
        def rows_of(code: str) -> Callable[[str], list[Row]]:
            return lambda feed: self.rows(code, feed)

        def key(name: str) -> str:
            secret = f"{seeded(f'{self.seed}/{name}').getrandbits(128):032x}"
            self.secrets[f"env:{name}"] = secret
            return secret

        self.gateways = {
            "330400": IrsGateway(
                rows_of("330400"),
                self.now,
                access_key=key("JIAXING_ACCESS_KEY"),
                secret_key=key("JIAXING_SECRET_KEY"),
                routes={
                    "/restapi/prod/IC33040020220615000021/punish/list": ("cases", "dsc_biz_timestamp"),
                    "/restapi/prod/IC33040020220615000022/check/list": ("inspections", "gmtModified"),
                },
            ),
            "330500": TokenGateway(
                rows_of("330500"),
                self.now,
                app_key=key("HUZHOU_APP_KEY"),
                app_secret=key("HUZHOU_APP_SECRET"),
                routes={
                    "/gateway/api/001003017/dataSharing/Kq2xV7cWn30Tb8Lz.htm": "cases",
                    "/gateway/api/001003017/dataSharing/e5UdR91mYs4Hp6Qa.htm": "inspections",
                },
            ),
            "330521": CountyGateway(
                rows_of("330521"),
                self.now,
                app_key=key("DEQING_APP_KEY"),
                app_secret=key("DEQING_APP_SECRET"),
                routes={"/share/api/punish": "cases", "/share/api/check": "inspections"},
            ),
        }
        for code, gateway in self.gateways.items():
            gateway.start()
            self.connections[code] = {"base_url": gateway.base_url}


FILES = {
    ("330483", "cases"): "CF",
    ("330483", "transfers"): "YS",
    ("341882", "cases"): "案件",
    ("341882", "inspections"): "检查",
}
TABLES = {
    ("330503", "cases"): "ods_ra_qssgsxzcf",
    ("330503", "inspections"): "tr_t_jgxw_check_action",
    ("330523", "cases"): "v_jgxw_punish_action",
    ("330523", "inspections"): "v_jgxw_check_action",
}


# ---------------------------------------------------------------- forms


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def table_text(columns: list[str], rows: list[Row], delimiter: str) -> str:
    """Rows as delimited text, None as nothing."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(["" if v is None else v for v in row.values()] for row in rows)
    return out.getvalue()


def workbook(columns: list[str], rows: list[Row], title: str) -> bytes:
    """Rows as a workbook whose first line is a title and whose second has the columns."""
    import openpyxl  # slow to import and used by one city only

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("台账")
    sheet.append([title])
    sheet.append(columns)
    for row in rows:
        sheet.append(list(row.values()))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def xml_message(code: str, feed: str, sn: str, rows: list[Row]) -> bytes:
    """Rows as one exchange message; a column without a value is an empty element."""
    header = {
        "sender": code,
        "receiver": "330000",
        "flow": "双公示" if feed == "cases" else "案件移送",
        "item": feed,
        "sn": sn,
        "securityType": "0",
    }

    def elements(values: Row) -> str:
        return "".join(f"<{k}>{escape('' if v is None else str(v))}</{k}>" for k, v in values.items())

    body = "\n".join(f"<fields>{elements(row)}</fields>" for row in rows)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<ExchangeMessage><Header>{elements(header)}</Header><Body>\n{body}\n</Body></ExchangeMessage>\n"
    ).encode()


def write_table(path: Path, table: str, columns: list[str], rows: list[Row]) -> None:
    """Let a front table hold exactly these rows, in one transaction."""
    typed = ", ".join(f'"{column}" TEXT' for column in columns)
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ({typed})')
        db.execute(f'DELETE FROM "{table}"')
        places = ", ".join("?" * len(columns))
        db.executemany(f'INSERT INTO "{table}" VALUES ({places})', [tuple(row.values()) for row in rows])
        db.execute("COMMIT")
    finally:
        db.close()
