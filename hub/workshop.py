"""More processes for the pure work on records: checking what is pushed, preparing what is pulled.

Validating and hashing records takes most of an ingest's time and one core; with workers the other cores share it, and
the hub's own process keeps the network, the ledger and the store. On a whole comparison they also map the rows and digest
them: what the ledger holds as it is needs nothing more.
Rule 1. Plain data in, plain data out, through pipes: a worker opens no store and no connection, and writes no file.
Rule 2. A worker ends with its parent: the end of its input is its end. One that died is replaced, and the work it held
is done here.
Rule 3. Few records are not worth the way: they are done here, by the same functions.
"""

import contextlib
import os
import queue
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from adapters.base import Refuse, Row
from adapters.mapping import Mapper, Plan
from hub import record
from hub.canonical import b64url
from hub.errors import KindError, Problem
from hub.kinds import Kind, load_kinds
from hub.record import Leaf, Plain

FEW = 100
MOST_SIFTERS = 8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_plan = msgspec.msgpack.Decoder(Plan).decode

Records = Sequence[tuple[bytes, list[str]]]


def salts() -> Callable[[], str]:
    """Draws 128 fresh bits as base64url, from the system's generator, some thousands at a time."""

    def draw() -> Iterator[str]:
        while True:
            block = os.urandom(16 * 1024)
            text = b"".join([b64url(block[n : n + 16]) for n in range(0, len(block), 16)]).decode()
            yield from [text[n : n + 22] for n in range(0, len(text), 22)]

    return draw().__next__


def prepare(
    kind: Kind, digest_key: bytes, bodies: Sequence[dict[str, Any]], salt: Callable[[], str] | None = None
) -> list[Plain | list[Problem]]:
    """Each body ready to be sealed (with `salt` its groups are sealed already), or what its kind says against it."""
    found: list[Plain | list[Problem]] = []
    for body in bodies:
        try:
            kind.accept(body)
            content = record.plain(digest_key, kind, body)
            found.append(content if salt is None else content._replace(sealed=record.close_groups(content, salt)))
        except KindError as error:
            found.append(list(error.problems))
    return found


class Sifted(NamedTuple):
    """Rows as what they are held against the ledger by: origin, id, content digest and bytes; None where one must be looked at.

    `leftovers` counts the columns that nobody mapped.
    """

    rows: list[tuple[str, str, bytes, int] | None]
    leftovers: dict[str, int]


class Sifter:
    """Maps rows of one feed and digests them; a row that needs a closer look is None."""

    def __init__(self, plan: bytes, kind: Kind, digest_key: bytes) -> None:
        self._mapper, self._kind, self._digest_key = Mapper(_plan(plan)), kind, digest_key
        self._told: Counter[str] = Counter()

    def __call__(self, id_keys: Mapping[str, bytes], rows: Sequence[Mapping[str, Any]]) -> Sifted:
        found = [self._row(id_keys, data) for data in rows]
        leftovers = Counter(self._mapper.leftovers)
        fresh, self._told = leftovers - self._told, leftovers
        return Sifted(found, dict(fresh))

    def _row(self, id_keys: Mapping[str, bytes], data: Mapping[str, Any]) -> tuple[str, str, bytes, int] | None:
        try:
            mapped = self._mapper(Row(data, ""))
            if mapped.retract:
                return None
            id = record.record_id(id_keys[mapped.origin], self._kind.name, mapped.key)
            essence = self._kind.essence(mapped.body)
        except (Refuse, KeyError, TypeError, ValueError):
            return None
        return mapped.origin, id, record.essence_digest(self._digest_key, self._kind, essence), len(essence)


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
        for _ in range(self.size):
            worker = self._idle.get()
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
        answer = self._ask(("receive", list(taken), records)) if self.size and len(records) >= FEW else None
        if answer is None:
            kinds = {name: self._kinds[name] for name in taken}
            return record.receive_all(kinds, records, self._digest_key)
        rows, problems = _decode(answer)
        if problems:
            return [], [Problem(*each) for each in problems]
        return [
            Leaf(raw, dict(zip(groups, texts, strict=True)), *rest)
            for (raw, texts), (groups, *rest) in zip(records, rows, strict=True)
        ], []

    def prepare(self, kind: str, bodies: Sequence[dict[str, Any]]) -> "Future[list[Plain | list[Problem]]]":
        """`prepare` for bodies of a kind, at work while the caller goes on reading."""
        if self.size and len(bodies) >= FEW:
            return self._threads.submit(self._prepare, kind, bodies)
        done: Future[list[Plain | list[Problem]]] = Future()
        done.set_result(prepare(self._kinds[kind], self._digest_key, bodies))
        return done

    def _prepare(self, kind: str, bodies: Sequence[dict[str, Any]]) -> list[Plain | list[Problem]]:
        answer = self._ask(("prepare", kind, bodies))
        if answer is None:
            return prepare(self._kinds[kind], self._digest_key, bodies)
        return [Plain(*each) if good else [Problem(*told) for told in each] for good, each in _decode(answer)]


    def sift(
        self, plan: bytes, kind: str, id_keys: Mapping[str, bytes], rows: Sequence[Mapping[str, Any]]
    ) -> "Future[Sifted | None]":
        """Rows of a feed as `Sifted`, at work while the caller goes on reading; None where no worker could do it."""
        return self._threads.submit(self._sift, plan, kind, id_keys, rows)

    def _sift(
        self, plan: bytes, kind: str, id_keys: Mapping[str, bytes], rows: Sequence[Mapping[str, Any]]
    ) -> Sifted | None:
        answer = self._ask(("sift", plan, kind, dict(id_keys), rows)) if self.size else None
        if answer is None:
            return None
        found, leftovers = _decode(answer)
        return Sifted([None if each is None else tuple(each) for each in found], leftovers)


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
        self._sifters: dict[tuple[bytes, str], Sifter] = {}

    def sifter(self, plan: bytes, kind: str) -> Sifter:
        found = self._sifters.get((plan, kind))
        if found is None:
            if len(self._sifters) >= MOST_SIFTERS:
                self._sifters.clear()
            found = self._sifters[plan, kind] = Sifter(plan, self.kinds[kind], self.digest_key)
        return found


def _answer(bench: _Bench, question: Any) -> Any:
    kinds, digest_key = bench.kinds, bench.digest_key
    if question[0] == "ready":
        return True
    if question[0] == "sift":
        _, plan, kind, id_keys, rows = question
        return bench.sifter(plan, kind)(id_keys, rows)
    if question[0] == "receive":
        _, taken, records = question
        leaves, problems = record.receive_all({name: kinds[name] for name in taken}, records, digest_key)
        return [(list(leaf.disclosures), *leaf[2:]) for leaf in leaves], problems
    _, kind, bodies = question
    return [(isinstance(each, Plain), each) for each in prepare(kinds[kind], digest_key, bodies, salts())]


def main(folder: str) -> None:
    """Answer questions until the input ends."""
    # Of its own import only: what it says must be its answers alone.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    digest_key = _receive(sys.stdin.buffer)
    bench = _Bench(load_kinds(Path(folder)), digest_key)
    while True:
        try:
            question = _decode(_receive(sys.stdin.buffer))
        except (EOFError, KeyboardInterrupt):
            return
        _send(answers, _encode(_answer(bench, question)))


if __name__ == "__main__":
    main(sys.argv[1])
