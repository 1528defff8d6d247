"""The embedded store: one SQLite file, schema and migrations by sqlite-utils.

One connection per thread. Every write runs under BEGIN IMMEDIATE with synchronous=FULL. Records are appended in arrival
order; `current` is the one table with scattered keys on the hot path.
"""

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from sqlite_utils import Database, Migrations

from hub.batch import Chain
from hub.errors import Fenced, HubError, KeyRefused, Locked, RecordError
from hub.keys import Vault
from hub.note import ED25519, PRIVATE, parse_vkey
from hub.reconcile.worklist import OPEN_STATES, Difference, Event, Point, Ref
from hub.record import Leaf, Withheld, by_group, line_of
from hub.store import engine
from hub.store.base import (
    LISTED,
    Account,
    Acked,
    Attached,
    Entry,
    Erased,
    Held,
    Known,
    Listed,
    Night,
    Noted,
    Notice,
    Pause,
    Pull,
    Quarantined,
    Scan,
    Series,
    Session,
    Shelf,
    Version,
)

VIEWS = ("chain", "series", "current", "tile")
SEGMENT = 16
_OPS = ("put", "retract")
_CODES = {"put": 0, "retract": 1}

_Leaves = tuple[list[bytes | None], list[bytes | None]]
_leaves = msgspec.msgpack.Decoder(_Leaves).decode
# Of each leaf the groups that are disclosed and the line of their disclosures; earlier a map.
_Told = tuple[tuple[str, ...], bytes] | dict[str, str]
_told = msgspec.msgpack.Decoder(list[_Told]).decode
_NOTHING: _Told = ((), line_of(()))

schema = Migrations("crossregion-hub")


@schema()
def ledger(db: Database) -> None:
    """Entries, leaves and the views derived from them."""
    _table(db, "meta", {"key": str, "value": str}, "key")
    _table(
        db,
        "entry",
        {"idx": int, "text_hash": str, "origin": str, "seq": int, "note": bytes, "count": int, "first": int,
         "checkpoint": bytes},
        "idx",
    )  # fmt: skip
    db["entry"].create_index(["text_hash"], unique=True)  # type: ignore[union-attr]
    db["entry"].create_index(["origin", "seq"], unique=True)  # type: ignore[union-attr]
    db["entry"].create_index(["first"])  # type: ignore[union-attr]
    _table(db, "segment", {"first": int, "count": int, "leaves": bytes, "disclosures": bytes}, "first")
    _table(db, "chain", {"origin": str, "state": str}, "origin")
    _table(db, "series", {"id": int, "origin": str, "kind": str, "standing": int, "retracted": int}, "id")
    db["series"].create_index(["origin", "kind"], unique=True)  # type: ignore[union-attr]
    # WITHOUT ROWID keeps one b-tree, not a table and an index: half the pages written per record.
    db.execute("CREATE TABLE tile(level INTEGER, n INTEGER, hashes BLOB NOT NULL, PRIMARY KEY(level, n)) WITHOUT ROWID")
    db.execute(
        "CREATE TABLE current(series INTEGER, id TEXT, rev INTEGER NOT NULL, op INTEGER NOT NULL, digest BLOB,"
        " n INTEGER NOT NULL, PRIMARY KEY(series, id)) WITHOUT ROWID"
    )


@schema()
def work(db: Database) -> None:
    """What intake, nights and partners keep besides the ledger."""
    _table(db, "cursor", {"code": str, "feed": str, "cursor": str}, ("code", "feed"))
    _table(db, "quarantine", {each.name: bytes if each.name == "row" else str for each in fields(Quarantined)},
           ("code", "feed", "mark"))  # fmt: skip
    _table(db, "pull", {each.name: int if each.type in (int, bool) else str for each in fields(Pull)}, "number")
    _table(db, "night", {"agreement": str, "night": str, "state": str, "token": str, "until": int, "result": str},
           ("agreement", "night"))  # fmt: skip
    _table(db, "notice", {"n": int, "partner": str, "type": str, "body": str}, "n")
    _table(db, "acked", {"partner": str, "after": int, "notice": int, "at": str}, "partner")
    db.execute(
        "CREATE TABLE nonce(keyid TEXT, nonce TEXT, until INTEGER NOT NULL, PRIMARY KEY(keyid, nonce)) WITHOUT ROWID"
    )
    db.execute("CREATE INDEX nonce_until ON nonce(until)")


@schema()
def worklist(db: Database) -> None:
    """Differences with their lives. Those of an earlier form are dropped: the next night finds them again."""
    db["difference"].drop(ignore=True)
    _table(db, "difference", {each.name: str for each in fields(Difference)}, "identity")
    db["difference"].create_index(["agreement", "state"])  # type: ignore[union-attr]
    _table(db, "difference_event", {"n": int} | dict.fromkeys(Event._fields, str), "n")
    db["difference_event"].create_index(["identity"])  # type: ignore[union-attr]


@schema()
def copies(db: Database) -> None:
    """What partners say of their copies."""
    db.table("acked").add_column("size", int, not_null_default=0)
    db.table("acked").add_column("root", str, not_null_default="")


@schema()
def versions(db: Database) -> None:
    """Which version of a source's row is on the ledger."""
    db.execute(
        "CREATE TABLE version(code TEXT, feed TEXT, id TEXT, rev INTEGER NOT NULL, mark BLOB NOT NULL,"
        " PRIMARY KEY(code, feed, id)) WITHOUT ROWID"
    )


@schema()
def erasures(db: Database) -> None:
    """What was erased, so that nothing brings it back."""
    db.execute(
        "CREATE TABLE erased(origin TEXT, kind TEXT, id TEXT, groups TEXT NOT NULL, PRIMARY KEY(origin, kind, id))"
        " WITHOUT ROWID"
    )


@schema()
def cosignatures(db: Database) -> None:
    """What witnesses signed of this ledger's checkpoints."""
    db.execute(
        "CREATE TABLE cosignature(size INTEGER, witness TEXT, line TEXT NOT NULL, PRIMARY KEY(size, witness)) WITHOUT ROWID"
    )


@schema()
def console(db: Database) -> None:
    """Who may use the console, who does, and what they did."""
    _table(db, "account", {each.name: int if each.type in (int, bool) else str for each in fields(Account)}, "name")
    _table(db, "session", {each.name: str for each in fields(Session)}, "mark")
    db["session"].create_index(["account"])  # type: ignore[union-attr]
    _table(db, "journal", {"number": int} | dict.fromkeys(Noted._fields[:-1], str), "number")
    db["journal"].create_index(["about"])  # type: ignore[union-attr]


@schema()
def attachments(db: Database) -> None:
    """What the files hold that records name by digest, encrypted."""
    db.execute(
        "CREATE TABLE attachment(origin TEXT, kind TEXT, id TEXT, sha256 TEXT, home TEXT NOT NULL, content BLOB NOT NULL,"
        " PRIMARY KEY(origin, kind, id, sha256))"
    )


@schema()
def pauses(db: Database) -> None:
    """Which jurisdictions are not read, and why; and the way to a jurisdiction's newest runs."""
    _table(db, "pause", dict.fromkeys(Pause._fields, str), "code")
    db["pull"].create_index(["code", "feed"])  # type: ignore[union-attr]


@schema()
def listing(db: Database) -> None:
    """Where leaves stand in lists, and keyed marks of what records are found by."""
    db.execute(
        "CREATE TABLE shelf(number INTEGER PRIMARY KEY, origin TEXT, kind TEXT, scope TEXT, UNIQUE(origin, kind, scope))"
    )
    db.execute(
        "CREATE TABLE listed(n INTEGER PRIMARY KEY, id TEXT NOT NULL, shelf INTEGER NOT NULL, day TEXT NOT NULL,"
        " item TEXT NOT NULL, standing INTEGER NOT NULL)"
    )
    db.execute("CREATE INDEX listed_id ON listed(id)")
    # A list is read from this alone, in its order.
    db.execute("CREATE INDEX listed_day ON listed(day, n, shelf, item) WHERE standing")
    db.execute("CREATE TABLE mark(mark INTEGER, n INTEGER, part TEXT, PRIMARY KEY(mark, n, part)) WITHOUT ROWID")
    db.execute("CREATE INDEX mark_n ON mark(n)")


@schema()
def nonces(db: Database) -> None:
    """Spent nonces have a file of their own."""
    db["nonce"].drop(ignore=True)


def _table(db: Database, name: str, columns: dict[str, Any], pk: str | tuple[str, ...]) -> None:
    db[name].create(columns, pk=pk)  # type: ignore[union-attr]


class _Scan:
    """A scan kept in the connection's temporary database, which SQLite spills to disk."""

    def __init__(self, store: "SqliteStore") -> None:
        self._store = store

    def add(self, origin: str, kind: str, ids: Sequence[str]) -> set[str]:
        db = self._store._db()
        name, wanted = f"{origin}/{kind}", json.dumps(list(ids))
        try:
            # Most often none was met before: one statement, which is all or nothing.
            db.execute("INSERT INTO temp.seen SELECT ?, value FROM json_each(?)", (name, wanted))
            return set()
        except engine.sqlite3.IntegrityError:
            pass
        rows = db.execute(
            "SELECT value FROM json_each(?) CROSS JOIN temp.seen ON name = ? AND seen.id = value", (wanted, name)
        )
        met = {row[0] for row in rows}
        db.execute("INSERT OR IGNORE INTO temp.seen SELECT ?, value FROM json_each(?)", (name, wanted))
        return met

    def missing(self, origin: str, kind: str, limit: int, after: str) -> list[tuple[str, Known]]:
        series = self._store._series(origin, kind, create=False)
        if series is None:
            return []
        rows = self._store._db().execute(
            "SELECT id, rev, op, digest, n FROM current WHERE series = ? AND id > ? AND op = 0"
            " AND NOT EXISTS(SELECT 1 FROM temp.seen WHERE name = ? AND seen.id = current.id) ORDER BY id LIMIT ?",
            (series, after, f"{origin}/{kind}", limit),
        )
        return [(row[0], _known(row[1:])) for row in rows]


def _busy() -> Locked:
    return Locked("the store is busy", where="store", mend="try again; somebody else is writing")


def _begin(db: Any) -> None:
    """Begin to write; Locked where another process does."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except engine.sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise _busy() from error


def _disclosures(told: _Told) -> dict[str, str]:
    return told if isinstance(told, dict) else by_group(*told)


def _known(row: Sequence[Any]) -> Known:
    return Known(row[0], _OPS[row[1]], row[2], row[3])


class SqliteStore:
    """A store in one file; safe to share between threads, each of which gets a connection of its own."""

    def __init__(self, path: Path, vault: Vault) -> None:
        if engine.version() < engine.OLDEST:
            raise HubError("this SQLite is too old", where="store", mend="pip install pysqlite3")
        self._path, self._vault = path, vault
        self._local = threading.local()
        self._connections: list[Any] = []
        self._guard = threading.Lock()
        self._turn = threading.RLock()
        what = "cannot be opened as a store: damaged, or no database"
        with engine.opening(path, what, "restore the newest backup; the head file tells how far it must reach"):
            schema.apply(Database(self._db()))

    # --- connections and transactions ---

    def _db(self) -> Any:
        db = getattr(self._local, "db", None)
        if db is None:
            # Leaves fill such pages better than small ones, and each page costs two writes.
            db = engine.connect(self._path, page=8192)
            for pragma in (
                "foreign_keys = ON", "temp_store = FILE", "cache_size = -65536", "wal_autocheckpoint = 8192",
                "secure_delete = ON",
            ):  # fmt: skip
                db.execute(f"PRAGMA {pragma}")
            self._local.db = db
            with self._guard:
                self._connections.append(db)
        return db

    @contextmanager
    def transaction(self) -> Iterator[None]:
        db = self._db()
        # Threads queue here: between two looks at the lock of a file SQLite sleeps for milliseconds.
        if not self._turn.acquire(timeout=engine.BUSY):
            raise _busy()
        try:
            _begin(db)
            try:
                yield
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            self._turn.release()

    def _write(self) -> Any:
        db = self._db()
        if not db.in_transaction:
            raise HubError("a write outside a transaction", where="store")
        return db

    def close(self) -> None:
        with self._guard:
            while self._connections:
                self._connections.pop().close()
        self._local = threading.local()

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db().execute(sql, values).fetchone()

    # --- settings of the store ---

    def get(self, key: str) -> str | None:
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        return row[0] if row else None

    def put(self, key: str, value: str) -> None:
        self._write().execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # --- the ledger ---

    _ENTRY = "SELECT idx, text_hash, origin, seq, note, count, first, checkpoint FROM entry"

    def size(self) -> int:
        return int(self._one("SELECT coalesce(max(idx) + 1, 0) FROM entry")[0])

    def _entry(self, where: str, *values: Any) -> Entry | None:
        row = self._one(f"{self._ENTRY} WHERE {where}", *values)
        return Entry(*row) if row else None

    def entry(self, index: int) -> Entry | None:
        return self._entry("idx = ?", index)

    def entry_at(self, origin: str, seq: int) -> Entry | None:
        return self._entry("origin = ? AND seq = ?", origin, seq)

    def find(self, text_hash: str) -> Entry | None:
        return self._entry("text_hash = ?", text_hash)

    def entries(self, after: int, limit: int) -> list[Entry]:
        rows = self._db().execute(f"{self._ENTRY} WHERE idx >= ? ORDER BY idx LIMIT ?", (after, limit))
        return [Entry(*row) for row in rows]

    def key_entries(self, origin: str) -> list[Entry]:
        rows = self._db().execute(f"{self._ENTRY} WHERE origin = ? AND count = 0 ORDER BY seq", (origin,))
        return [Entry(*row) for row in rows]

    def entry_of(self, number: int) -> Entry | None:
        return self._entry("first <= ? AND first + count > ?", number, number)

    def set_first(self, index: int, first: int) -> None:
        self._write().execute("UPDATE entry SET first = ? WHERE idx = ?", (first, index))

    def append_entry(self, entry: Entry) -> None:
        self._write().execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(entry))

    def replace_entry(self, entry: Entry) -> None:
        self._write().execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(entry))

    def tile(self, level: int, index: int) -> bytes:
        row = self._one("SELECT hashes FROM tile WHERE level = ? AND n = ?", level, index)
        return row[0] if row else b""

    def put_tiles(self, tiles: Mapping[tuple[int, int], bytes]) -> None:
        rows = [(level, n, hashes) for (level, n), hashes in tiles.items()]
        self._write().executemany("INSERT OR REPLACE INTO tile VALUES (?, ?, ?)", rows)

    # --- records ---

    # Leaves rest several to a row: one by one, a page would hold a few leaves and stay partly empty.

    def append_leaves(self, leaves: Sequence[Leaf | Withheld], hashes: Sequence[bytes]) -> int:
        row = self._one("SELECT first + count FROM segment ORDER BY first DESC LIMIT 1")
        begin = int(row[0]) if row else 1
        rows = []
        for n in range(0, len(leaves), SEGMENT):
            part = leaves[n : n + SEGMENT]
            raws = [None if isinstance(leaf, Withheld) else leaf.raw for leaf in part]
            told = [_NOTHING if isinstance(leaf, Withheld) else (leaf.groups, leaf.line) for leaf in part]
            kept = [hash if raw is None else None for raw, hash in zip(raws, hashes[n : n + SEGMENT], strict=True)]
            rows.append(self._segment(begin + n, raws, kept, told))
        self._write().executemany("INSERT INTO segment VALUES (?, ?, ?, ?)", rows)
        return begin

    def _segment(
        self, first: int, raws: list[bytes | None], hashes: list[bytes | None], told: list[_Told]
    ) -> tuple[int, int, bytes, bytes]:
        sealed = self._vault.seal(msgspec.msgpack.encode(told), str(first).encode())
        return first, len(raws), msgspec.msgpack.encode((raws, hashes)), sealed

    def _segments(self, first: int, count: int) -> Iterator[tuple[int, _Leaves, list[_Told]]]:
        rows = self._db().execute(
            "SELECT first, leaves, disclosures FROM segment WHERE first > ? AND first < ? ORDER BY first",
            (first - SEGMENT, first + count),
        )
        for begin, leaves, sealed in rows:
            try:
                yield begin, _leaves(leaves), _told(self._vault.open(sealed, str(begin).encode()))
            except msgspec.DecodeError as error:
                raise RecordError(
                    f"the leaves from number {begin} on are damaged", where="store", mend="run fsck"
                ) from error

    def leaves(self, first: int, count: int) -> Iterator[Held]:
        for begin, (raws, hashes), told in self._segments(first, count):
            for n, raw in enumerate(raws, begin):
                if first <= n < first + count:
                    yield Held(n, raw, hashes[n - begin], _disclosures(told[n - begin]))

    def _change(self, number: int, raw: bytes | None, hash: bytes | None, disclosed: _Told) -> None:
        begin, (raws, hashes), told = list(self._segments(number, 1))[-1]
        raws[number - begin], hashes[number - begin], told[number - begin] = raw, hash, disclosed
        row = self._segment(begin, raws, hashes, told)
        self._write().execute("INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?)", row)

    def drop_leaves(self, first: int, count: int) -> None:
        # Leaves of one append never share a row with another's.
        self._write().execute("DELETE FROM segment WHERE first >= ? AND first < ?", (first, first + count))

    def fill_leaf(self, number: int, leaf: Leaf, hash: bytes) -> None:
        self._change(number, leaf.raw, None, (leaf.groups, leaf.line))

    def withhold_leaf(self, number: int, hash: bytes) -> None:
        self._change(number, None, hash, _NOTHING)

    def forget_disclosures(self, number: int, hash: bytes, groups: Iterable[str]) -> None:
        gone = set(groups)
        for held in self.leaves(number, 1):
            kept = {group: text for group, text in held.disclosures.items() if group not in gone}
            self._change(number, held.raw, held.hash, (tuple(kept), line_of(kept.values())))

    # --- views ---

    def chain(self, origin: str) -> Chain:
        row = self._one("SELECT state FROM chain WHERE origin = ?", origin)
        return _read_chain(row[0]) if row else Chain(origin)

    def put_chain(self, chain: Chain) -> None:
        state = json.dumps(asdict(chain) | {"keys": [str(key) for key in chain.keys]})
        self._write().execute("INSERT OR REPLACE INTO chain VALUES (?, ?)", (chain.origin, state))

    def chains(self) -> list[Chain]:
        return [_read_chain(row[0]) for row in self._db().execute("SELECT state FROM chain ORDER BY origin")]

    def _series(self, origin: str, kind: str, *, create: bool) -> int | None:
        row = self._one("SELECT id FROM series WHERE origin = ? AND kind = ?", origin, kind)
        if row:
            return int(row[0])
        if not create:
            return None
        cursor = self._write().execute(
            "INSERT INTO series(origin, kind, standing, retracted) VALUES (?, ?, 0, 0)", (origin, kind)
        )
        return int(cursor.lastrowid)

    def known(self, origin: str, kind: str, ids: Sequence[str]) -> dict[str, Known]:
        series = self._series(origin, kind, create=False)
        if series is None:
            return {}
        rows = self._db().execute(
            "SELECT current.id, rev, op, digest, n FROM json_each(?) CROSS JOIN current ON series = ? AND current.id = value",
            (json.dumps(list(ids)), series),
        )
        return {row[0]: _known(row[1:]) for row in rows}

    def set_current(
        self, origin: str, kind: str, rows: Iterable[tuple[str, Known]], standing: int, retracted: int
    ) -> None:
        series = self._series(origin, kind, create=True)
        db = self._write()
        db.executemany(
            "INSERT OR REPLACE INTO current VALUES (?, ?, ?, ?, ?, ?)",
            [(series, id, each.rev, _CODES[each.op], each.digest, each.number) for id, each in rows],
        )
        db.execute(
            "UPDATE series SET standing = standing + ?, retracted = retracted + ? WHERE id = ?",
            (standing, retracted, series),
        )

    def forget_digests(self, origin: str) -> None:
        self._write().execute(
            "UPDATE current SET digest = NULL WHERE series IN (SELECT id FROM series WHERE origin = ?)", (origin,)
        )

    def drop_current(self, origin: str, kind: str) -> None:
        series = self._series(origin, kind, create=True)
        self._write().execute("DELETE FROM current WHERE series = ?", (series,))
        self._write().execute("UPDATE series SET standing = 0, retracted = 0 WHERE id = ?", (series,))

    def walk(self, origin: str, kind: str) -> Iterator[tuple[str, Known]]:
        series = self._series(origin, kind, create=False)
        after = ""
        while True:
            rows = self._db().execute(
                "SELECT id, rev, op, digest, n FROM current WHERE series = ? AND id > ? ORDER BY id LIMIT 1000",
                (series, after),
            ).fetchall()  # fmt: skip
            if not rows:
                return
            yield from ((row[0], _known(row[1:])) for row in rows)
            after = rows[-1][0]

    def series(self) -> list[Series]:
        rows = self._db().execute("SELECT origin, kind, standing, retracted FROM series ORDER BY origin, kind")
        return [Series(*row) for row in rows]

    def clear_views(self) -> None:
        db = self._write()
        for view in VIEWS:
            db.execute(f"DELETE FROM {view}")
        db.execute("DELETE FROM meta WHERE key = ?", (LISTED,))

    def view_digests(self) -> dict[str, str]:
        digests = {}
        queries = {
            "chain": "SELECT * FROM chain ORDER BY origin",
            # A series that holds nothing is none: a copy that gave everything back remembers only its name.
            "series": "SELECT origin, kind, standing, retracted FROM series WHERE standing OR retracted ORDER BY origin, kind",
            "current": "SELECT origin, kind, current.id, rev, op, digest, n FROM current JOIN series"
            " ON series.id = current.series ORDER BY origin, kind, current.id",
            "tile": "SELECT * FROM tile ORDER BY level, n",
        }
        for view, query in queries.items():
            hasher = sha256()
            for row in self._db().execute(query):
                hasher.update(repr(tuple(row)).encode() + b"\n")
            digests[view] = hasher.hexdigest()
        return digests

    # --- intake ---

    @contextmanager
    def scan(self) -> Iterator[Scan]:
        db = self._db()
        db.execute("CREATE TEMP TABLE IF NOT EXISTS seen(name TEXT, id TEXT, PRIMARY KEY(name, id)) WITHOUT ROWID")
        db.execute("DELETE FROM temp.seen")
        try:
            yield _Scan(self)
        finally:
            db.execute("DELETE FROM temp.seen")

    def cursor(self, code: str, feed: str) -> str | None:
        row = self._one("SELECT cursor FROM cursor WHERE code = ? AND feed = ?", code, feed)
        return row[0] if row else None

    def put_cursor(self, code: str, feed: str, cursor: str | None) -> None:
        self._write().execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", (code, feed, cursor))

    def put_versions(self, code: str, feed: str, versions: Iterable[tuple[str, Version]]) -> None:
        rows = [(code, feed, id, *version) for id, version in versions]
        self._write().executemany("INSERT OR REPLACE INTO version VALUES (?, ?, ?, ?, ?)", rows)

    def versions(self, code: str, feed: str, ids: Sequence[str]) -> dict[str, Version]:
        rows = self._db().execute(
            "SELECT version.id, rev, mark FROM json_each(?) CROSS JOIN version ON code = ? AND feed = ? AND version.id = value",
            (json.dumps(list(ids)), code, feed),
        )
        return {row[0]: Version(*row[1:]) for row in rows}

    def put_quarantine(self, rows: Sequence[Quarantined]) -> None:
        names = _names(Quarantined)
        kept = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "first_seen")
        self._write().executemany(
            f"{_insert('quarantine', names)} ON CONFLICT(code, feed, mark) DO UPDATE SET {kept}",
            [self._quarantine_row(row, names) for row in rows],
        )

    def _quarantine_row(self, row: Quarantined, names: Sequence[str]) -> list[Any]:
        sealed = self._vault.seal(row.row, f"{row.code}/{row.feed}".encode())
        return [sealed if name == "row" else getattr(row, name) for name in names]

    def keep_quarantine(self, code: str, feed: str, since: str) -> int:
        cursor = self._write().execute(
            "DELETE FROM quarantine WHERE code = ? AND feed = ? AND last_seen < ?", (code, feed, since)
        )
        return int(cursor.rowcount)

    def quarantine(self, code: str | None = None) -> list[Quarantined]:
        names = _names(Quarantined)
        rows = self._db().execute(
            f"SELECT {_columns(names)} FROM quarantine WHERE ? IS NULL OR code = ? ORDER BY code, feed, mark",
            (code, code),
        )
        found = []
        for row in rows:
            values = dict(zip(names, row, strict=True))
            values["row"] = self._vault.open(values["row"], f"{values['code']}/{values['feed']}".encode())
            found.append(Quarantined(**values))
        return found

    def quarantined(self, code: str | None = None) -> int:
        return int(self._one("SELECT count(*) FROM quarantine WHERE ? IS NULL OR code = ?", code, code)[0])

    def start_pull(self, pull: Pull) -> int:
        values = asdict(pull)
        del values["number"]
        cursor = self._write().execute(_insert("pull", list(values)), tuple(values.values()))
        return int(cursor.lastrowid)

    def end_pull(self, pull: Pull) -> None:
        values = asdict(pull)
        sets = ", ".join(f'"{name}" = ?' for name in values)
        self._write().execute(f"UPDATE pull SET {sets} WHERE number = ?", (*values.values(), pull.number))

    def _pulls(self, where: str, *values: Any) -> list[Pull]:
        names = _names(Pull)
        rows = self._db().execute(f"SELECT {_columns(names)} FROM pull WHERE {where} ORDER BY number", values)
        return [Pull(**(dict(zip(names, row, strict=True)) | {"full": bool(row[names.index("full")])})) for row in rows]

    def pull_days(self, code: str, since: str) -> list[tuple[str, tuple[str, ...]]]:
        rows = self._db().execute(
            "SELECT substr(started, 1, 10), group_concat(DISTINCT state) FROM pull WHERE code = ? AND started >= ?"
            " GROUP BY 1 ORDER BY 1",
            (code, since),
        )
        return [(day, tuple(states.split(","))) for day, states in rows]

    def stored_on(self, day: str) -> int:
        row = self._one("SELECT coalesce(sum(stored + retracted), 0) FROM pull WHERE substr(started, 1, 10) = ?", day)
        return int(row[0])

    def last_pulls(self) -> list[Pull]:
        newest = "SELECT max(number) FROM pull GROUP BY code, feed"
        good = "SELECT max(number) FROM pull WHERE state = 'succeeded' GROUP BY code, feed"
        return self._pulls(f"number IN ({newest}) OR number IN ({good})")

    def runs(self, feeds: Collection[tuple[str, str]], limit: int) -> list[Pull]:
        newest = "SELECT number FROM pull JOIN json_each(?) ON code = value ->> 0 AND feed = value ->> 1"
        wanted = json.dumps(sorted(feeds))
        return self._pulls(f"number IN ({newest} ORDER BY number DESC LIMIT ?)", wanted, limit)[::-1]

    def put_pause(self, pause: Pause) -> None:
        self._write().execute(_insert("pause", Pause._fields).replace("INSERT", "INSERT OR REPLACE", 1), pause)

    def drop_pause(self, code: str) -> None:
        self._write().execute("DELETE FROM pause WHERE code = ?", (code,))

    def pauses(self) -> list[Pause]:
        return [Pause(*row) for row in self._db().execute(f"SELECT {_columns(Pause._fields)} FROM pause ORDER BY code")]

    # --- nights ---

    def claim_night(self, agreement: str, night: str, token: str, now: int, until: int) -> bool:
        cursor = self._write().execute(
            "INSERT INTO night VALUES (?, ?, 'claimed', ?, ?, '{}') ON CONFLICT(agreement, night) DO UPDATE"
            " SET token = excluded.token, until = excluded.until WHERE state = 'claimed' AND (until <= ? OR token = ?)",
            (agreement, night, token, until, now, token),
        )
        return bool(cursor.rowcount)

    def commit_night(self, agreement: str, night: str, token: str, result: Mapping[str, Any]) -> None:
        cursor = self._write().execute(
            "UPDATE night SET state = 'committed', result = ? WHERE agreement = ? AND night = ? AND token = ?"
            " AND state = 'claimed'",
            (json.dumps(result, ensure_ascii=False, sort_keys=True), agreement, night, token),
        )
        if cursor.rowcount != 1:
            raise Fenced(
                f"night {night} of {agreement} is no longer this run's", mend="nothing to do: another run has it"
            )

    def put_progress(self, agreement: str, night: str, token: str, result: Mapping[str, Any]) -> None:
        self._write().execute(
            "UPDATE night SET result = ? WHERE agreement = ? AND night = ? AND token = ? AND state = 'claimed'",
            (json.dumps(result, ensure_ascii=False, sort_keys=True), agreement, night, token),
        )

    def night(self, agreement: str, night: str) -> Night | None:
        found = self._nights("agreement = ? AND night = ?", 1, agreement, night)
        return found[0] if found else None

    def nights(self, agreement: str, limit: int) -> list[Night]:
        return self._nights("agreement = ?", limit, agreement)

    def nights_between(self, agreement: str, first: str, last: str) -> list[Night]:
        return self._nights("agreement = ? AND night BETWEEN ? AND ?", 366, agreement, first, last)

    def _nights(self, where: str, limit: int, *values: Any) -> list[Night]:
        rows = self._db().execute(
            f"SELECT agreement, night, state, token, until, result FROM night WHERE {where} ORDER BY night DESC LIMIT ?",
            (*values, limit),
        )
        return [Night(row[0], row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows]

    def put_differences(self, rows: Iterable[Difference], events: Iterable[Event]) -> None:
        names = _names(Difference)
        db = self._write()
        db.executemany(
            _insert("difference", names).replace("INSERT", "INSERT OR REPLACE", 1),
            [[json.dumps(value) if isinstance(value, tuple) else value for value in _values(each)] for each in rows],
        )
        db.executemany(_insert("difference_event", Event._fields), list(events))

    def differences(self, agreement: str | None = None, *, closed: bool = False) -> list[Difference]:
        states = ", ".join(f"'{state}'" for state in OPEN_STATES)
        return self._differences(
            f"(? IS NULL OR agreement = ?) AND (? OR state IN ({states})) ORDER BY first_night, identity",
            agreement, agreement, closed,
        )  # fmt: skip

    def difference(self, identity: str) -> Difference | None:
        return next(iter(self._differences("identity = ?", identity)), None)

    def _differences(self, where: str, *values: Any) -> list[Difference]:
        names = _names(Difference)
        found = []
        for row in self._db().execute(f"SELECT {_columns(names)} FROM difference WHERE {where}", values):
            plain = dict(zip(names, row, strict=True))
            for name, shape in (("refs", Ref), ("basis", Ref), ("points", Point)):
                plain[name] = tuple(shape(*each) for each in json.loads(plain[name]))
            found.append(Difference(**plain))
        return found

    def difference_events(self, identity: str) -> list[Event]:
        rows = self._db().execute(
            f"SELECT {_columns(Event._fields)} FROM difference_event WHERE identity = ? ORDER BY n", (identity,)
        )
        return [Event(*row) for row in rows]

    # --- what is found by ---

    def last_leaf(self) -> int:
        row = self._one("SELECT first + count - 1 FROM segment ORDER BY first DESC LIMIT 1")
        return int(row[0]) if row else 0

    _OF_RECORD = "SELECT n FROM listed JOIN shelf ON shelf.number = shelf WHERE id = ? AND origin = ? AND kind = ?"

    def put_listed(self, rows: Iterable[Listed]) -> None:
        rows, db = list(rows), self._write()
        shelves = {each[1:]: each.number for each in self.shelves()}
        for place in dict.fromkeys((row.origin, row.kind, row.scope) for row in rows):
            if place not in shelves:
                cursor = db.execute("INSERT INTO shelf(origin, kind, scope) VALUES (?, ?, ?)", place)
                shelves[place] = int(cursor.lastrowid)
        newest = {(row.id, row.origin, row.kind): row.number for row in rows}
        rows = [row._replace(standing=row.standing and newest[row.id, row.origin, row.kind] == row.number) for row in rows]
        before = db.execute(
            "SELECT n, listed.id, origin, kind FROM json_each(?) CROSS JOIN listed ON listed.id = value AND standing"
            " JOIN shelf ON shelf.number = shelf",
            (json.dumps(sorted({row.id for row in rows})),),
        )
        gone = [(number,) for number, *record in before.fetchall() if tuple(record) in newest]
        db.executemany("UPDATE listed SET standing = 0 WHERE n = ?", gone)
        db.executemany("DELETE FROM mark WHERE n = ?", gone)
        db.executemany(
            "INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?, ?, ?)",
            [
                (row.number, row.id, shelves[row.origin, row.kind, row.scope], row.day, row.item, row.standing)
                for row in rows
            ],
        )
        # In the order they rest in: marks are as good as random, and a page is then written once.
        marks = sorted((mark, row.number, group) for row in rows if row.standing for mark, group in row.marks)
        db.executemany("INSERT OR REPLACE INTO mark VALUES (?, ?, ?)", marks)

    def clear_listed(self) -> None:
        for table in ("mark", "listed", "shelf"):
            self._write().execute(f"DELETE FROM {table}")

    def shelves(self) -> list[Shelf]:
        rows = self._db().execute("SELECT number, origin, kind, scope FROM shelf ORDER BY origin, kind, scope")
        return [Shelf(*row) for row in rows]

    def listed(
        self, shelves: Collection[int], limit: int, skip: int = 0, *, marks: Mapping[int, Collection[int]] | None = None,
        item: str = "", since: str = "", until: str = "",
    ) -> tuple[int, list[tuple[int, int]]]:  # fmt: skip
        found = "listed INDEXED BY listed_day WHERE standing"
        values: list[Any] = []
        if marks is not None:
            # By number: of few marks there are few records, and each is looked up once.
            found = (
                "listed WHERE standing AND n IN (SELECT mark.n FROM json_each(?) CROSS JOIN mark ON mark = value"
                " JOIN listed AS at ON at.n = mark.n WHERE (mark, at.shelf) IN"
                " (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)))"
            )
            pairs = [[mark, shelf] for mark, where in marks.items() for shelf in where]
            values += [json.dumps(list(marks)), json.dumps(pairs)]
        for clause, value in (("day >= ?", since), ("day <= ?", until), ("item = ?", item)):
            if value:
                found += f" AND {clause}"
                values.append(value)
        found += " AND shelf IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(list(shelves)))
        (total,) = self._one(f"SELECT count(*) FROM {found}", *values)
        rows = self._db().execute(
            f"SELECT n, shelf FROM {found} ORDER BY day DESC, n DESC LIMIT ? OFFSET ?", (*values, limit, skip)
        )
        return int(total), [tuple(row) for row in rows]

    def revisions(self, origin: str, kind: str, id: str) -> list[int]:
        return [row[0] for row in self._db().execute(f"{self._OF_RECORD} ORDER BY n", (id, origin, kind))]

    def drop_marks(self, origin: str, kind: str, id: str, groups: Iterable[str]) -> None:
        gone = json.dumps(sorted(groups))
        for number in self.revisions(origin, kind, id):
            self._write().execute(
                "DELETE FROM mark WHERE n = ? AND part IN (SELECT value FROM json_each(?))", (number, gone)
            )

    # --- partners ---

    def add_notices(self, notices: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
        self._write().executemany(
            "INSERT INTO notice(partner, type, body) VALUES (?, ?, ?)",
            [(partner, type, json.dumps(body, sort_keys=True)) for partner, type, body in notices],
        )

    def notices(self, partner: str, after: int, limit: int) -> list[Notice]:
        rows = self._db().execute(
            "SELECT n, partner, type, body FROM notice WHERE partner = ? AND n > ? ORDER BY n LIMIT ?",
            (partner, after, limit),
        )
        return [Notice(n, partner, type, json.loads(body)) for n, partner, type, body in rows]

    def put_acked(self, acked: Acked) -> None:
        names = Acked._fields
        self._write().execute(
            _insert("acked", names) + " ON CONFLICT(partner) DO UPDATE SET at = excluded.at, size = excluded.size,"
            " root = excluded.root, after = max(after, excluded.after), notice = max(notice, excluded.notice)",
            acked,
        )

    def acked(self) -> list[Acked]:
        return [Acked(*row) for row in self._db().execute(f"SELECT {_columns(Acked._fields)} FROM acked ORDER BY partner")]

    # --- witnesses ---

    def put_cosignature(self, size: int, witness: str, line: str) -> None:
        self._write().execute("INSERT OR REPLACE INTO cosignature VALUES (?, ?, ?)", (size, witness, line))

    def cosignatures(self) -> list[tuple[int, str, str]]:
        return list(self._db().execute("SELECT size, witness, line FROM cosignature ORDER BY size DESC, witness"))

    def drop_cosignatures(self, below: int) -> None:
        self._write().execute("DELETE FROM cosignature WHERE size < ?", (below,))

    # --- the console ---

    def put_account(self, account: Account) -> None:
        values = [json.dumps(value) if isinstance(value, tuple) else value for value in _values(account)]
        self._write().execute(_insert("account", _names(Account)).replace("INSERT", "INSERT OR REPLACE", 1), values)

    def account(self, name: str) -> Account | None:
        return next(iter(self._accounts("WHERE name = ?", name)), None)

    def accounts(self) -> list[Account]:
        return self._accounts("ORDER BY name")

    def _accounts(self, where: str, *values: Any) -> list[Account]:
        names = _names(Account)
        found = []
        for row in self._db().execute(f"SELECT {_columns(names)} FROM account {where}", values):
            plain = dict(zip(names, row, strict=True))
            plain |= {name: tuple(json.loads(plain[name])) for name in ("agreements", "jurisdictions")}
            found.append(Account(**plain | {"blocked": bool(plain["blocked"])}))
        return found

    def put_session(self, session: Session) -> None:
        self._write().execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?)", _values(session))

    def session(self, mark: str) -> Session | None:
        row = self._one("SELECT mark, account, started, seen FROM session WHERE mark = ?", mark)
        return Session(*row) if row else None

    def drop_sessions(self, *, account: str | None = None, mark: str | None = None, before: str | None = None) -> None:
        self._write().execute(
            "DELETE FROM session WHERE (? IS NULL OR account = ?) AND (? IS NULL OR mark = ?) AND (? IS NULL OR started < ?)",
            (account, account, mark, mark, before, before),
        )

    def note(self, noted: Noted) -> None:
        self._write().execute(_insert("journal", Noted._fields[:-1]), noted[:-1])

    def notes(self, limit: int, before: int | None = None, **where: str) -> list[Noted]:
        asked = "".join(f" AND {_columns([name])} = ?" for name in where)
        rows = self._db().execute(
            f"SELECT {_columns(Noted._fields)} FROM journal WHERE (? IS NULL OR number < ?){asked}"
            " ORDER BY number DESC LIMIT ?",
            (before, before, *where.values(), limit),
        )
        return [Noted(*row) for row in rows]

    # --- upkeep ---

    def backup(self, path: Path) -> None:
        path.touch(mode=0o600, exist_ok=False)
        into = engine.sqlite3.connect(str(path), isolation_level=None)
        try:
            self._db().backup(into)
            # One file that stands alone: without this its journal would be a second one.
            into.execute("PRAGMA journal_mode = DELETE")
        finally:
            into.close()

    def put_erased(self, erased: Erased) -> None:
        row = (erased.origin, erased.kind, erased.id, json.dumps(erased.groups))
        self._write().execute("INSERT OR REPLACE INTO erased VALUES (?, ?, ?, ?)", row)

    def erased(self, origin: str, kind: str, ids: Iterable[str]) -> dict[str, frozenset[str]]:
        if not self._one("SELECT EXISTS(SELECT 1 FROM erased WHERE origin = ? AND kind = ?)", origin, kind)[0]:
            return {}
        rows = self._db().execute(
            "SELECT erased.id, groups FROM json_each(?) CROSS JOIN erased ON origin = ? AND kind = ? AND erased.id = value",
            (json.dumps(list(ids)), origin, kind),
        )
        return {id: frozenset(json.loads(groups)) for id, groups in rows}

    def drop_record(self, origin: str, kind: str, id: str) -> None:
        known, series = self.known(origin, kind, [id]).get(id), self._series(origin, kind, create=True)
        if known is not None:
            self._write().execute("DELETE FROM current WHERE series = ? AND id = ?", (series, id))
            column = "standing" if known.op == "put" else "retracted"
            self._write().execute(f"UPDATE series SET {column} = {column} - 1 WHERE id = ?", (series,))
        for number in self.revisions(origin, kind, id):
            self._write().execute("DELETE FROM mark WHERE n = ?", (number,))
            self._write().execute("DELETE FROM listed WHERE n = ?", (number,))

    def drop_derived(self, origin: str, id: str) -> None:
        self._write().execute("DELETE FROM quarantine WHERE origin = ? AND id = ?", (origin, id))
        self._write().execute("DELETE FROM version WHERE id = ?", (id,))

    # --- files that records name ---

    def put_attachment(self, attached: Attached, content: bytes) -> bool:
        with suppress(KeyRefused):
            if self.attachment(*attached[:4]) == content:
                return False
        row = (*attached, self._vault.seal(content, "/".join(attached[:4]).encode()))
        self._write().execute("INSERT OR REPLACE INTO attachment VALUES (?, ?, ?, ?, ?, ?)", row)
        return True

    def attachment(self, origin: str, kind: str, id: str, sha256: str) -> bytes | None:
        key = (origin, kind, id, sha256)
        row = self._one("SELECT content FROM attachment WHERE origin = ? AND kind = ? AND id = ? AND sha256 = ?", *key)
        return self._vault.open(row[0], "/".join(key).encode()) if row else None

    def attachments(self) -> Iterator[Attached]:
        rows = self._db().execute("SELECT origin, kind, id, sha256, home FROM attachment ORDER BY origin, kind, id, sha256")
        yield from (Attached(*row) for row in rows)

    def drop_attachments(self, origin: str, kind: str, id: str, groups: Iterable[str] | None) -> None:
        where, values = "origin = ? AND kind = ? AND id = ?", (origin, kind, id)
        if groups is not None:
            where += " AND home IN (SELECT value FROM json_each(?))"
            values += (json.dumps(sorted(groups)),)  # type: ignore[assignment]
        self._write().execute(f"DELETE FROM attachment WHERE {where}", values)

    def scrub(self) -> bool:
        # Freed pages are zeroed as they are freed (secure_delete); what is left lies in the journal.
        row = self._db().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not row[0]

    def check(self) -> list[str]:
        return [row[0] for row in self._db().execute("PRAGMA integrity_check") if row[0] != "ok"]


def _names(shape: type) -> list[str]:
    return [each.name for each in fields(shape)]


def _values(row: Any) -> list[Any]:
    """The values of a dataclass as they are: `astuple` would take its tuples apart."""
    return [getattr(row, name) for name in _names(type(row))]


def _columns(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table}({_columns(names)}) VALUES ({', '.join('?' * len(names))})"


def _read_chain(state: str) -> Chain:
    values = json.loads(state)
    values["keys"] = tuple(parse_vkey(text, ED25519, PRIVATE) for text in values["keys"])
    values["voids"] = tuple((first, last) for first, last in values.get("voids", ()))
    return Chain(**values)
