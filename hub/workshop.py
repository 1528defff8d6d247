"""More processes for the pure work on records: checking what is pushed, preparing what is pulled.

Mapping, validating and hashing records takes most of an ingest's time; with workers the other cores share it, and the hub's
own process keeps the network, the ledger and the store. On a whole comparison they digest the rows first: what the ledger
holds as it is needs nothing more.
Rule 1. Plain data in, plain data out, through pipes: a worker opens no store and no connection, and writes no file.
Rule 2. A worker ends with its parent: the end of its input is its end. One that died is replaced, and the work it held
is done here.
Rule 3. What is few, or what needs a reason told, is done here, by the same functions.
"""

import contextlib
import fcntl
import gc
import os
import queue
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import msgspec

from adapters.base import Refuse, Row
from adapters.mapping import Mapper, Plan
from hub import record
from hub.canonical import b64url
from hub.errors import KindError, Problem
from hub.kinds import Kind, load_kinds
from hub.record import Leaf, Plain

FEW = 100
MOST_READERS = 8
PIPE = 1 << 20
NICE = 10

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_plan = msgspec.msgpack.Decoder(Plan).decode

Records = Sequence[tuple[bytes, bytes]]
Rows = Sequence[Mapping[str, Any]]
_Each = TypeVar("_Each")


def salts() -> Callable[[], str]:
    """Draws 128 fresh bits as base64url, from the system's generator, some thousands at a time."""
    cut = struct.Struct("16s" * 1024)

    def draw() -> Iterator[str]:
        while True:
            # Two zero bytes behind each sixteen make 24 characters, of which the first 22 are their one spelling.
            text = b64url(b"\0\0".join(cut.unpack(os.urandom(cut.size)))).decode()
            yield from [text[n : n + 22] for n in range(0, len(text), 24)]

    return draw().__next__


def collect_rarely() -> None:
    """Look for circles of dead objects seldom: thousands of rows are at work at once, and none is in a circle.

    The usual thresholds cost a third of an ingest.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


class Made(NamedTuple):
    """A row that its kind accepts: whose record it is, the record's id, and its content."""

    origin: str
    id: str
    content: Plain


class Glimpse(NamedTuple):
    """Of a row what it is held against the ledger by: origin, id, content digest, and how many bytes the content has."""

    origin: str
    id: str
    digest: bytes
    size: int


class Reader:
    """Maps rows of one feed; None stands for a row that somebody must look at closely.

    A row refused, a withdrawal, a body that its kind refuses: all that has a reason is left to who can tell it.
    """

    def __init__(self, plan: bytes, kind: Kind, digest_key: bytes) -> None:
        self._mapper, self._kind, self._digest_key = Mapper(_plan(plan)), kind, digest_key
        self._told: Counter[str] = Counter()
        self._salt = salts()

    def make(self, id_keys: Mapping[str, bytes], rows: Sequence[Mapping[str, Any]]) -> list[Made | None]:
        """Rows as contents with their groups closed."""
        found: list[Made | None] = []
        for data in rows:
            mapped = self._map(id_keys, data)
            if mapped is not None:
                try:
                    self._kind.accept(mapped[2])
                except KindError:
                    mapped = None
            if mapped is None:
                found.append(None)
            else:
                origin, id, body = mapped
                found.append(Made(origin, id, record.plain(self._digest_key, self._kind, body).close(self._salt)))
        return found

    def sift(self, id_keys: Mapping[str, bytes], rows: Sequence[Mapping[str, Any]]) -> list[Glimpse | None]:
        """Rows as what tells whether the ledger holds them; nothing is checked that it would have refused."""
        found: list[Glimpse | None] = []
        for data in rows:
            mapped = self._map(id_keys, data)
            try:
                essence = self._kind.essence(mapped[2]) if mapped else None
            except (KeyError, TypeError, ValueError):
                essence = None
            if mapped is None or essence is None:
                found.append(None)
            else:
                digest = record.essence_digest(self._digest_key, self._kind, essence)
                found.append(Glimpse(mapped[0], mapped[1], digest, len(essence)))
        return found

    def leftovers(self) -> dict[str, int]:
        """The columns that nobody mapped, counted since this was last asked."""
        leftovers = Counter(self._mapper.leftovers)
        fresh, self._told = leftovers - self._told, leftovers
        return dict(fresh)

    def _map(self, id_keys: Mapping[str, bytes], data: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]] | None:
        try:
            mapped = self._mapper(Row(data, ""))
        except Refuse:
            return None
        if mapped.retract or mapped.origin not in id_keys:
            return None
        return mapped.origin, record.record_id(id_keys[mapped.origin], self._kind.name, mapped.key), mapped.body


# What a reader said of each row, and the columns that nobody mapped.
Seen = tuple[list[_Each | None], dict[str, int]]
_made = msgspec.msgpack.Decoder(tuple[list[Made | None], dict[str, int]]).decode
_sifted = msgspec.msgpack.Decoder(tuple[list[Glimpse | None], dict[str, int]]).decode


def unseen(rows: Sequence[Any]) -> "Future[Seen[Any]]":
    """Nothing said of any row, at once."""
    done: Future[Seen[Any]] = Future()
    done.set_result(([None] * len(rows), {}))
    return done


class _Worker:
    """One process and its two pipes; used by one thread at a time."""

    def __init__(self, kinds: Path, digest_key: bytes) -> None:
        # The import path by environment, because the hub may run from a checkout that is not installed.
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hub.workshop", str(kinds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        for pipe in (self._to, self._from):
            # Each time a pipe is full or empty both sides wake: a large one passes a batch in a few turns. Linux alone has it.
            with contextlib.suppress(AttributeError, OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
        _send(self._to, digest_key)

    def ask(self, question: bytes) -> bytes:
        """The answer's bytes; EOFError or OSError where the worker is gone."""
        _send(self._to, question)
        return _receive(self._from)

    def close(self) -> None:
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()


class Workshop:
    """Up to `size` workers over the kinds of a folder, started when they are first needed."""

    def __init__(self, folder: Path, kinds: Mapping[str, Kind], digest_key: bytes, size: int | None = None) -> None:
        self._folder, self._kinds, self._digest_key = folder, kinds, digest_key
        self.size = size if size is not None else min(4, os.cpu_count() or 1)
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.size):
            self._idle.put(None)
        self._threads = ThreadPoolExecutor(max(1, self.size), thread_name_prefix="workshop")

    def close(self) -> None:
        """End the workers; work under way is finished first."""
        self._threads.shutdown(wait=True)
        # All are idle now; closed before, there is none.
        with contextlib.suppress(queue.Empty):
            while True:
                worker = self._idle.get_nowait()
                if worker is not None:
                    worker.close()

    def warm(self) -> list["Future[bytes | None]"]:
        """Start the workers ahead of their first work; each takes a second or two, and nobody has to wait for it."""
        return [self._threads.submit(self._ask, ("ready",)) for _ in range(self.size)]

    def _ask(self, question: Any) -> bytes | None:
        """A worker's answer, None where it cannot be asked this or died over it."""
        try:
            data = _encode(question)
        except (ValueError, TypeError, OverflowError):
            return None
        worker = self._idle.get()
        try:
            worker = worker or _Worker(self._folder, self._digest_key)
            return worker.ask(data)
        except (OSError, EOFError):
            if worker is not None:
                worker.close()
            worker = None
            return None
        finally:
            self._idle.put(worker)

    def receive(self, records: Records, taken: Sequence[str]) -> tuple[list[Leaf], list[Problem]]:
        """`record.receive_all` over kinds of the names `taken`; no leaf where there is a problem."""
        # In parts, so that a batch alone has every core.
        size = max(FEW, -(-len(records) // max(1, self.size)))
        parts = [(n, records[n : n + size]) for n in range(0, len(records), size)]
        others = self._threads.map(lambda part: self._receive(part[0], part[1], taken), parts[1:])
        found = [self._receive(first, part, taken) for first, part in parts[:1]]
        found += others
        problems = [problem for _, told in found for problem in told]
        return ([], problems) if problems else ([leaf for leaves, _ in found for leaf in leaves], [])

    def _receive(self, first: int, records: Records, taken: Sequence[str]) -> tuple[list[Leaf], list[Problem]]:
        answer = self._ask(("receive", list(taken), first, records)) if self.size and len(records) >= FEW else None
        if answer is None:
            kinds = {name: self._kinds[name] for name in taken}
            return record.receive_all(kinds, records, first)
        rows, problems = _decode(answer)
        if problems:
            return [], [Problem(*each) for each in problems]
        return [
            Leaf(raw, tuple(groups), spelt or line, origin, kind, id, rev, op, None)
            for (raw, line), (groups, spelt, origin, kind, id, rev, op) in zip(records, rows, strict=True)
        ], []

    def make(self, plan: bytes, kind: str, id_keys: Mapping[str, bytes], rows: Rows) -> "Future[Seen[Made]]":
        """Rows of a feed as contents ready to be signed, at work while the caller goes on reading."""
        if len(rows) < FEW:
            return unseen(rows)
        return self._threads.submit(self._read, _made, "make", plan, kind, id_keys, rows)

    def sift(self, plan: bytes, kind: str, id_keys: Mapping[str, bytes], rows: Rows) -> "Future[Seen[Glimpse]]":
        """Rows of a feed as what the ledger can be asked about, at work while the caller goes on reading."""
        return self._threads.submit(self._read, _sifted, "sift", plan, kind, id_keys, rows)

    def _read(
        self,
        decode: Callable[[bytes], Seen[Any]],
        how: str,
        plan: bytes,
        kind: str,
        id_keys: Mapping[str, bytes],
        rows: Rows,
    ) -> Seen[Any]:
        answer = self._ask((how, plan, kind, dict(id_keys), rows)) if self.size else None
        return unseen(rows).result() if answer is None else decode(answer)


# --- the other end ---


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(len(data).to_bytes(4, "big"))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    head = pipe.read(4)
    data = pipe.read(int.from_bytes(head, "big")) if len(head) == 4 else b""
    if len(head) != 4 or len(data) != int.from_bytes(head, "big"):
        raise EOFError
    return data


class _Bench:
    """What a worker keeps between questions: the feeds it has mapped rows of, a few of them."""

    def __init__(self, kinds: Mapping[str, Kind], digest_key: bytes) -> None:
        self.kinds, self.digest_key = kinds, digest_key
        self._readers: dict[tuple[bytes, str], Reader] = {}

    def reader(self, plan: bytes, kind: str) -> Reader:
        found = self._readers.get((plan, kind))
        if found is None:
            if len(self._readers) >= MOST_READERS:
                self._readers.clear()
            found = self._readers[plan, kind] = Reader(plan, self.kinds[kind], self.digest_key)
        return found


def _answer(bench: _Bench, question: Any) -> Any:
    if question[0] == "ready":
        return True
    if question[0] == "receive":
        _, taken, first, records = question
        leaves, problems = record.receive_all({name: bench.kinds[name] for name in taken}, records, first)
        if problems:
            return [], problems
        # The two lines are with who asks, unless one was spelt otherwise; a content digest has only who signs.
        return [
            (leaf.groups, None if leaf.line == line else leaf.line, *leaf[3:-1])
            for leaf, (_, line) in zip(leaves, records, strict=True)
        ], []
    how, plan, kind, id_keys, rows = question
    reader = bench.reader(plan, kind)
    return {"make": reader.make, "sift": reader.sift}[how](id_keys, rows), reader.leftovers()


def main(folder: str) -> None:
    """Answer questions until the input ends."""
    # The hub's own process comes first: everything waits for it, and what it hands on keeps the workers busy.
    os.nice(NICE)
    # Of its own import only: what it says must be its answers alone.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    digest_key = _receive(sys.stdin.buffer)
    bench = _Bench(load_kinds(Path(folder)), digest_key)
    collect_rarely()
    while True:
        try:
            question = _decode(_receive(sys.stdin.buffer))
        except (EOFError, KeyboardInterrupt):
            return
        _send(answers, _encode(_answer(bench, question)))


if __name__ == "__main__":
    main(sys.argv[1])
