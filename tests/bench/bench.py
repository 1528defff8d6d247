"""Speed, side by side in one run: `python3 run.py bench [--records N] [--rounds R] [--year N] [--json]`.

Rows are the shipped inspection kind from the sample generator, sealed and encrypted as in real use. Each round measures
every side once; figures are medians of the rounds, in records a second, and ratios are medians of each round's ratio: they are
what to compare between machines.

  sqlite-utils   insert_all of the same rows as flat columns, 500 a transaction, WAL, synchronous=FULL
  marshmallow    the kind's schema validating the same bodies, nothing stored
  plain stack    marshmallow + rfc8785 + sqlite-utils + pymerkle in the same batches of 500, in one process: plain rows of JSON,
                 parsed, validated, canonicalised, hashed, stored under a signed head
  plain sealed   the same libraries doing a push's work on the same sealed records: digests compared, disclosures encrypted
  push           500-record batches signed beforehand, two client processes, one waitress process, signed HTTP both ways,
                 from the first request to the last durable receipt
  year           a CSV of a year of Huzhou's inspections through its declared adapter onto the ledger
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pymerkle
import rfc8785
import sqlite_utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters import declaration
from adapters.sample import generator
from hub import app, batch, settings
from hub.intake import Intake, Issuer
from hub.keys import KeyRing, pin_of
from hub.kinds import Kind, load_kinds
from hub.ledger import HeadFile, Ledger, LedgerSeal, Pin, Submission, leaf_hashes
from hub.note import Signer, parse
from hub.record import Leaf, plain, record_id, seal
from hub.store import engine
from hub.store.sqlite import SqliteStore
from hub.wire import Client, HttpKey
from hub.workshop import Workshop, collect_rarely, salts

ROOT = Path(__file__).resolve().parents[2]
BATCH = 500
PHRASE = "a passphrase for the bench"
TIME = "2026-11-22T17:05:00+08:00"
CLIENTS = ("330521", "330523")
ZONE = ZoneInfo("Asia/Shanghai")


def now() -> datetime:
    return datetime.now(ZONE)


def bodies(count: int, place: str = "330521") -> list[dict[str, Any]]:
    """Inspection bodies of one place, each with a check code of its own."""
    where, random = generator.place(place), generator.seeded(f"bench {place}")
    parties = generator.parties(random, where, 500)
    return [generator.inspection(random, where, random.choice(parties), n, date(2026, 11, 1)) for n in range(count)]


def rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def durable(path: Path) -> Any:
    db = engine.sqlite3.connect(str(path), isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db


# --- beside us ---


def flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}


def sqlite_rate(rows: list[dict[str, Any]], folder: Path) -> float:
    """insert_all of the same rows, 500 a transaction."""
    names = sorted({name for row in rows for name in row})
    plain = [{name: row.get(name) for name in names} for row in map(flat, rows)]
    db = sqlite_utils.Database(durable(folder / "plain.db"))
    table = db["inspection"]

    def work() -> None:
        for n in range(0, len(plain), BATCH):
            table.insert_all(plain[n : n + BATCH], pk="check_code", batch_size=BATCH)

    return rate(len(rows), work)


def marshmallow_rate(rows: list[dict[str, Any]], kind: Kind) -> float:
    schema = kind.schema()
    return rate(len(rows), lambda: [schema.load(row) for row in rows])


def plain_stack(folder: Path, take: Callable[[Any], dict[str, Any]]) -> Callable[[list[Any]], None]:
    """What one would put together from libraries: `take` checks an item, bodies and signed heads are stored in batches."""
    tree, key = pymerkle.InmemoryTree(algorithm="sha256"), Ed25519PrivateKey.generate()
    db = sqlite_utils.Database(durable(folder / "stack.db"))

    def work(items: list[Any]) -> None:
        for n in range(0, len(items), BATCH):
            stored = [take(item) for item in items[n : n + BATCH]]
            for row in stored:
                row["leaf"] = tree.append_entry(row["body"])
            db["record"].insert_all(stored, pk="id", batch_size=BATCH)
            size, root = tree.get_size(), tree.get_root()
            db["head"].insert({"size": size, "root": root, "signature": key.sign(b"%d %b" % (size, root))})

    return work


def plain_rate(rows: list[dict[str, Any]], kind: Kind, folder: Path) -> float:
    """Plain rows, as JSON lines: parsed, validated and canonicalised."""
    schema, lines = kind.schema(), [json.dumps(row, ensure_ascii=False).encode() for row in rows]

    def take(line: bytes) -> dict[str, Any]:
        row = json.loads(line)
        schema.load(row)
        return {"id": row["check_code"], "body": rfc8785.dumps(row)}

    work = plain_stack(folder, take)
    return rate(len(lines), lambda: work(lines))


def plain_sealed_rate(leaves: list[Leaf], kind: Kind, folder: Path) -> float:
    """Sealed records, as they are pushed: canonical form, digests and the whole body checked, disclosures encrypted."""
    schema, cipher = kind.schema(), AESGCM(bytes(32))

    def take(lines: tuple[bytes, bytes]) -> dict[str, Any]:
        raw, texts = lines[0], json.loads(lines[1])
        record = json.loads(raw)
        assert rfc8785.dumps(record) == raw
        body = dict(record["open"])
        for text in texts:
            _, group, fields = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            digest = urlsafe_b64encode(sha256(text.encode()).digest()).decode().rstrip("=")
            assert record["sealed"][group] == digest
            if group not in kind.masks:
                body.update(fields)
        schema.load(body)
        nonce = os.urandom(12)
        closed = nonce + cipher.encrypt(nonce, lines[1], record["id"].encode())
        return {"id": record["id"], "body": raw, "disclosures": closed}

    pushed, work = [(leaf.raw, leaf.line) for leaf in leaves], plain_stack(folder, take)
    return rate(len(pushed), lambda: work(pushed))


# --- push ---


def signed_batches(origin: str, count: int, ring: KeyRing, hub: str, kind: Kind) -> Iterator[bytes]:
    """The bodies of an origin's pushes: its first key entry, then batches signed one after another."""
    first = ring.first_note(hub, origin, "self", TIME)
    yield batch.pack(first, [])
    parsed = parse(first)
    chain = batch.Chain(origin).follow(batch.parse(hub, parsed.text), parsed, pin=pin_of(first))
    signers, draw = [ring.signer("batch", origin)], salts()
    rows = bodies(count, origin)
    for n in range(0, count, BATCH):
        leaves = [_leaf(kind, origin, row, draw) for row in rows[n : n + BATCH]]
        raw = batch.make(hub, chain, leaf_hashes(leaves), signers, TIME)
        parsed = parse(raw)
        chain = chain.follow(batch.parse(hub, parsed.text), parsed, pin=None)
        yield batch.pack(raw, [(leaf.raw, list(leaf.disclosures.values())) for leaf in leaves])


def _leaf(kind: Kind, origin: str, row: dict[str, Any], draw: Callable[[], str]) -> Any:
    id = record_id(bytes(32), kind.name, row["check_code"])
    return seal(kind, plain(bytes(32), kind, row), origin=origin, id=id, rev=1, at=TIME, salt=draw)


def serve(folder: str, port: Any, stop: Any) -> None:
    """The hub's one process."""
    collect_rarely()
    home = Path(folder)
    loaded = settings.load(ROOT / "config")
    bound = app.bind("127.0.0.1", 0)
    loaded = app.as_demo(loaded, home / "hub", "127.0.0.1", bound.getsockname()[1])
    members = {
        code: replace(member, custody="self" if code in CLIENTS else member.custody)
        for code, member in loaded.framework.members.items()
    }
    loaded = replace(loaded, framework=replace(loaded.framework, members=members))
    ring = app.make_keys(loaded, home / "hub" / "keys", PHRASE, now())
    first, http = {}, {}
    for code in CLIENTS:
        own = KeyRing(home / code, PHRASE)
        first[code] = pin_of(own.first_note(loaded.hub.name, code, "self", TIME))
        http[code] = [str(own.create("http", code, f"{loaded.hub.name}/{code}/http").vkey)]
    hub = app.Hub(loaded, home / "hub", ring, demo=True, first_keys=first, http_keys=http)
    server = app.Server(hub.web(), bound, None)
    server.start()
    for each in hub.workshop.warm():
        each.result()
    card = app.card(loaded, home / "hub" / "keys", hub.url)
    port.put((hub.url, card.http))
    stop.wait()
    server.stop()
    port.put(hub.store.size())
    hub.close()


def client(folder: str, code: str, files: list[str], url: str, peer: str, start: Any, done: Any) -> None:
    key = HttpKey.signing(code, KeyRing(Path(folder) / code, PHRASE).signer("http", code))
    caller = Client(url, key, peer, now=now, timeout=120)
    ready = [Path(name).read_bytes() for name in files]
    reply = caller.post("/v1/batches", ready[0], "application/vnd.crossregion.batch")
    assert reply.status in (200, 201), reply.body
    start.wait()
    began = time.time()
    for body in ready[1:]:
        reply = caller.post("/v1/batches", body, "application/vnd.crossregion.batch")
        assert reply.status == 201, reply.body
    done.put((began, time.time()))


def push_rate(count: int, folder: Path, kind: Kind) -> float:
    """Records a second from the first request of two clients to the last durable receipt."""
    context = multiprocessing.get_context("spawn")
    hub_name = settings.load(ROOT / "config").hub.name + "/demo"
    files: dict[str, list[str]] = {}
    for code in CLIENTS:
        ring = KeyRing(folder / code, PHRASE)
        files[code] = []
        for n, body in enumerate(signed_batches(code, count // 2, ring, hub_name, kind)):
            path = folder / f"{code}-{n}.batch"
            path.write_bytes(body)
            files[code].append(str(path))
    port, stop, start, done = context.Queue(), context.Event(), context.Barrier(len(CLIENTS)), context.Queue()
    hub = context.Process(target=serve, args=(str(folder), port, stop))
    hub.start()
    url, peer = port.get(timeout=120)
    clients = [
        context.Process(target=client, args=(str(folder), code, files[code], url, peer, start, done))
        for code in CLIENTS
    ]
    for each in clients:
        each.start()
    times = [done.get(timeout=600) for _ in clients]
    stop.set()
    port.get(timeout=60)
    for each in [*clients, hub]:
        each.join(30)
    return 2 * (count // 2) / (max(end for _, end in times) - min(begin for begin, _ in times))


# --- a year of Huzhou ---


class YearHub:
    """A ledger with one origin, as a hub holds it."""

    def __init__(self, folder: Path, origin: str) -> None:
        ring = KeyRing(folder / "keys", PHRASE)
        secrets = ring.secrets()
        self.digest_key = secrets.digest_key
        first = ring.first_note("bench/ledger", origin, "custodial", TIME)
        store = SqliteStore(folder / "hub.db", secrets.vault())
        seal_: LedgerSeal = LedgerSeal(ring.create("ledger", "hub", "bench/ledger"))
        self.ledger = Ledger(store, HeadFile(folder / "head" / "checkpoint"), seal_, "bench/ledger",
                             lambda _: Pin(pin_of(first), "custodial"), signs=lambda _: True)  # fmt: skip
        self.ledger.open()
        self.ledger.append([Submission(first, None)])
        signer: Signer = ring.signer("batch", origin)
        issuer = Issuer(self.ledger, origin, lambda: [signer], secrets.id_key(origin), secrets.digest_key, now)
        kinds = load_kinds(ROOT / "config" / "kinds")
        self.workshop = Workshop(ROOT / "config" / "kinds", kinds, secrets.digest_key)
        self.intake = Intake(self.ledger, kinds, lambda _: issuer, secrets.digest_key, lambda _: "", now, self.workshop)


def year(folder: Path) -> dict[str, Any]:
    """Pull the year's CSV in this process; seconds, records and the memory it took at half way and at the end."""
    collect_rarely()
    found = declaration.load(ROOT / "adapters" / "sample" / "huzhou_year.yaml")
    hub = YearHub(folder / "year-hub", found.code)
    peaks: list[int] = []

    def watch(code: str, feed: str, read: int) -> None:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

    # A hub that serves has its workers up long before.
    for each in hub.workshop.warm():
        each.result()
    began = time.perf_counter()
    outcome = hub.intake.run(
        found, found.feeds[0], {"directory": str(folder / "year")}, full=True, who="bench", progress=watch
    )
    seconds = time.perf_counter() - began
    hub.workshop.close()
    assert outcome.pull.state == "succeeded", outcome.pull
    return {
        "records": outcome.pull.stored,
        "seconds": round(seconds, 2),
        "rate": round(outcome.pull.stored / seconds),
        "mb_at_quarter": peaks[len(peaks) // 4],
        "mb_at_end": peaks[-1],
    }


def year_apart(folder: Path) -> dict[str, Any]:
    """The year in a process of its own, so that its memory is its own."""
    run = subprocess.run(
        [sys.executable, __file__, "--year-in", str(folder)], capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise SystemExit(run.stderr)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


# --- the report ---


@contextmanager
def workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "var" if (ROOT / "var").is_dir() else None) as folder:
        yield Path(folder)


def report(records: int, rounds: int, year_records: int) -> dict[str, Any]:
    kind = load_kinds(ROOT / "config" / "kinds")["inspection/1"]
    rows = bodies(records)
    few = rows[: max(BATCH, records // 4)]
    draw = salts()
    sealed = [_leaf(kind, CLIENTS[0], row, draw) for row in rows]
    sides: dict[str, Callable[[Path], float]] = {
        "sqlite-utils": lambda folder: sqlite_rate(rows, folder),
        "marshmallow": lambda folder: marshmallow_rate(few, kind),
        "plain stack": lambda folder: plain_rate(rows, kind, folder),
        "plain sealed": lambda folder: plain_sealed_rate(sealed, kind, folder),
        "push": lambda folder: push_rate(records, folder, kind),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    # All sides in each round: a machine that slows down for a while slows them all.
    for _ in range(rounds):
        for name, measure in sides.items():
            with workplace() as folder:
                rates[name].append(measure(folder))

    def push_to(name: str) -> float:
        return round(statistics.median(push / other for push, other in zip(rates["push"], rates[name], strict=True)), 2)

    found: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "sqlite": engine.sqlite3.sqlite_version,
        },
        "records": records,
        "rounds": rounds,
        "per_second": {name: round(statistics.median(each)) for name, each in rates.items()},
        "push_to_sqlite_utils": push_to("sqlite-utils"),
        "push_to_plain_stack": push_to("plain stack"),
        "push_to_plain_sealed": push_to("plain sealed"),
    }
    if year_records:
        with workplace() as folder:
            (folder / "year").mkdir()
            generator.write_huzhou_year(folder / "year" / "inspections.csv", year_records)
            found["year"] = year_apart(folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--year", type=int, default=240_000, help="records of the year; 0 leaves it out")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--year-in", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.year_in:
        print(json.dumps(year(asked.year_in)))
        return
    found = report(asked.records, asked.rounds, asked.year)
    if asked.json:
        print(json.dumps(found))
        return
    print(f"{found['machine']}, {found['records']} records, median of {found['rounds']}")
    for name, each in found["per_second"].items():
        print(f"  {name:14}{each:>9,} records/s")
    print(
        f"  push is {found['push_to_sqlite_utils']} × sqlite-utils, {found['push_to_plain_stack']} × the plain stack on plain"
        f" rows and {found['push_to_plain_sealed']} × the plain stack on sealed records"
    )
    if "year" in found:
        print(f"  a year of Huzhou: {found['year']}")


if __name__ == "__main__":
    main()
