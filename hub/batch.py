"""Ledger entries: batch/v1 and key/v1 notes, the chain each origin's entries form, and the lines a batch travels in.

Rule 1. A note is ASCII, its lines exactly those of its type, and it carries exactly the signatures of the keys in force.
Rule 2. `seq` and `prev` chain an origin's entries of both types: no gap, no rewrite; the first stored wins.
Rule 3. A key/v1 is valid only if its key lines hash to the `next` of the one before (pre-rotation) and the first is the
pinned one; every listed key signs every batch. Validity is the position in the chain, never a stated time.
Pure: whoever appends holds the chains.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import msgspec

from hub import merkle, note
from hub.canonical import b64, unb64
from hub.errors import ForkError, GapError, KeyRefused, RecordError
from hub.note import Signer, VKey
from hub.record import is_origin, is_time, line_of

MAX_RECORDS = 5_000
MAX_BYTES = 8 << 20
CUSTODIES = ("custodial", "self")
NOTHING = b64(sha256(b"").digest())


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch/v1: `count` records of one origin under one root. Hashes are standard base64 of SHA-256."""

    origin: str
    seq: int
    prev: str
    count: int
    root: str
    keys: str
    time: str

    def text(self, hub: str) -> bytes:
        return (
            f"{hub}/batch/v1\norigin {self.origin}\nseq {self.seq}\nprev {self.prev}\ncount {self.count}\n"
            f"root {self.root}\nkeys {self.keys}\ntime {self.time}\n"
        ).encode()


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key/v1: the keys that sign an origin's batches from here on, and the hash of the next ones.

    With `void_from` the origin disowns its batches from that seq up to this entry: somebody else had its keys.
    """

    origin: str
    seq: int
    prev: str
    custody: str
    keys: tuple[VKey, ...]
    next: str
    time: str
    void_from: int = 0

    def text(self, hub: str) -> bytes:
        void = f"void-from {self.void_from}\n" if self.void_from else ""
        return (
            f"{hub}/key/v1\norigin {self.origin}\nseq {self.seq}\nprev {self.prev}\ncustody {self.custody}\n"
            f"{key_lines(self.keys)}next {self.next}\n{void}time {self.time}\n"
        ).encode()


Entry = Batch | KeyEntry


def key_lines(keys: Iterable[VKey]) -> str:
    """The key lines of a key/v1, whose SHA-256 is what the one before announces as `next`."""
    return "".join(f"key {key}\n" for key in keys)


def text_hash(text: bytes) -> str:
    """An entry's identity: the SHA-256 of its text, as notes write it."""
    return b64(sha256(text).digest())


def keys_hash(keys: Iterable[VKey]) -> str:
    """The SHA-256 of key lines, as `next` writes it."""
    return b64(sha256(key_lines(keys).encode()).digest())


class _Lines:
    """Takes the lines of a note one by one; each must be the one expected."""

    def __init__(self, text: bytes) -> None:
        try:
            self._rest = text.decode("ascii").split("\n")[:-1]
        except UnicodeDecodeError:
            raise RecordError("not ASCII", where="entry") from None

    def take(self, word: str) -> str:
        if not self._rest or not self._rest[0].startswith(word + " "):
            raise RecordError(f"line `{word} …` expected", where="entry")
        return self._rest.pop(0)[len(word) + 1 :]

    def first(self) -> str:
        return self._rest.pop(0) if self._rest else ""

    def more(self, word: str) -> bool:
        return bool(self._rest) and self._rest[0].startswith(word + " ")

    def done(self) -> None:
        if self._rest:
            raise RecordError("a line too many", where="entry")


def _hash(text: str, word: str) -> str:
    unb64(text, 32, word)
    return text


def parse(hub: str, text: bytes) -> Entry:
    """The entry of a note's text; RecordError on anything but the exact lines of its type under this hub's name."""
    lines = _Lines(text)
    head = lines.first()
    if head not in (f"{hub}/batch/v1", f"{hub}/key/v1"):
        raise RecordError(
            "neither a batch/v1 nor a key/v1 of this hub", where="entry", mend=f"its first line is {hub}/batch/v1"
        )
    origin = lines.take("origin")
    seq = note.number(lines.take("seq"), "seq")
    prev = _hash(lines.take("prev"), "prev")
    if not is_origin(origin) or not seq:
        raise RecordError("origin or seq is malformed", where="entry")
    entry = (
        _parse_batch(lines, origin, seq, prev) if head.endswith("batch/v1") else _parse_key(lines, origin, seq, prev)
    )
    lines.done()
    if not is_time(entry.time):
        raise RecordError("time is malformed", where="entry", mend="write YYYY-MM-DDTHH:MM:SS+08:00")
    return entry


def _parse_batch(lines: _Lines, origin: str, seq: int, prev: str) -> Batch:
    count = note.number(lines.take("count"), "count")
    if not 1 <= count <= MAX_RECORDS:
        raise RecordError(f"a batch holds 1 to {MAX_RECORDS} records", where="entry", mend="split the batch")
    root, keys = _hash(lines.take("root"), "root"), _hash(lines.take("keys"), "keys")
    return Batch(origin, seq, prev, count, root, keys, lines.take("time"))


def _parse_key(lines: _Lines, origin: str, seq: int, prev: str) -> KeyEntry:
    custody = lines.take("custody")
    if custody not in CUSTODIES:
        raise RecordError("custody is custodial or self", where="entry")
    keys = []
    while lines.more("key"):
        keys.append(note.parse_vkey(lines.take("key"), note.ED25519, note.PRIVATE))
    if not keys or len({key.raw for key in keys}) != len(keys) or keys[0].type != note.ED25519:
        raise RecordError("no key line, one key twice, or no Ed25519 key first", where="entry")
    following = _hash(lines.take("next"), "next")
    void = note.number(lines.take("void-from"), "void-from") if lines.more("void-from") else None
    if void is not None and not 1 < void < seq:
        raise RecordError("void-from names no batch before this entry", where="entry")
    return KeyEntry(origin, seq, prev, custody, tuple(keys), following, lines.take("time"), void or 0)


@dataclass(frozen=True, slots=True)
class Chain:
    """Where an origin's entries stand: the last seq and hash, and the keys in force. `seq` 0 before the first.

    `voids` are the ranges of seq, first and last, that the origin disowned.
    """

    origin: str
    seq: int = 0
    prev: str = NOTHING
    custody: str = ""
    keys: tuple[VKey, ...] = ()
    keys_text: str = ""
    next: str = ""
    voids: tuple[tuple[int, int], ...] = ()

    def voided(self, seq: int) -> bool:
        """Whether the origin disowned its entry of this seq."""
        return any(first <= seq <= last for first, last in self.voids)

    def follow(self, entry: Entry, raw: note.Note, *, pin: str | None) -> "Chain":
        """The chain after one more entry; ChainError or KeyRefused where it may not follow.

        `pin` is the hash of the origin's first key/v1 text as the framework declares it.
        """
        this = text_hash(raw.text)
        if entry.seq <= self.seq:
            raise ForkError(
                f"seq {entry.seq} of {self.origin} is already on the ledger with another text",
                seq=self.seq + 1, prev=self.prev,
            )  # fmt: skip
        if entry.seq > self.seq + 1:
            raise GapError(
                f"entries of {self.origin} before seq {entry.seq} are missing", seq=self.seq + 1, prev=self.prev
            )
        if entry.prev != self.prev:
            raise ForkError(
                f"seq {entry.seq} of {self.origin} continues another chain", seq=self.seq + 1, prev=self.prev
            )
        if isinstance(entry, KeyEntry):
            self._check_key_entry(entry, this, pin)
            note.verify_exactly(raw, entry.keys)
            voids = self.voids + (((entry.void_from, entry.seq - 1),) if entry.void_from else ())
            return replace(
                self, seq=entry.seq, prev=this, custody=entry.custody, keys=entry.keys, keys_text=this, next=entry.next,
                voids=voids,
            )  # fmt: skip
        if not self.keys:
            raise KeyRefused(f"{self.origin} has no key/v1 yet", mend="push the key/v1 first")
        if entry.keys != self.keys_text:
            raise KeyRefused(f"`keys` is not the key/v1 in force for {self.origin}")
        note.verify_exactly(raw, self.keys)
        return replace(self, seq=entry.seq, prev=this)

    def _check_key_entry(self, entry: KeyEntry, this: str, pin: str | None) -> None:
        if not self.keys:
            if pin is None:
                raise KeyRefused(
                    f"no first key is pinned for {self.origin}", mend="put `first_key` into framework.yaml"
                )
            if this != pin:
                raise KeyRefused(f"not the first key/v1 that the framework pins for {self.origin}")
        elif keys_hash(entry.keys) != self.next:
            raise KeyRefused(f"the key lines are not those that {self.origin} announced as `next`")
        elif self.custody == "self" and entry.custody != "self":
            raise KeyRefused(f"{self.origin} signs for itself, and nobody takes that over from it")


def first_key(
    hub: str, origin: str, custody: str, signers: Sequence[Signer], following: Sequence[VKey], time: str
) -> bytes:
    """The signed first key/v1 of an origin, announcing the hash of the following keys."""
    keys = tuple(each.vkey for each in signers)
    entry = KeyEntry(origin, 1, NOTHING, custody, keys, keys_hash(following), time)
    return note.sign(entry.text(hub), signers)


def next_key(
    hub: str, chain: Chain, signers: Sequence[Signer], following: Sequence[VKey], time: str, void_from: int = 0,
    custody: str | None = None,
) -> bytes:  # fmt: skip
    """The signed key/v1 by which the keys announced before come into force, announcing the hash of the following ones.

    With `custody` the chain passes into that.
    """
    keys, seq = tuple(each.vkey for each in signers), chain.seq + 1
    entry = KeyEntry(
        chain.origin, seq, chain.prev, custody or chain.custody, keys, keys_hash(following), time, void_from
    )
    return note.sign(entry.text(hub), signers)


def make(hub: str, chain: Chain, leaves: Sequence[bytes], signers: Sequence[Signer], time: str) -> bytes:
    """The signed batch/v1 over leaf hashes that continues a chain."""
    root = b64(merkle.root_of(leaves))
    batch = Batch(chain.origin, chain.seq + 1, chain.prev, len(leaves), root, chain.keys_text, time)
    return note.sign(batch.text(hub), signers)


def check_leaves(batch: Batch, leaves: Sequence[bytes]) -> None:
    """Raise RecordError unless these leaf hashes are the ones the batch signs."""
    if len(leaves) != batch.count:
        raise RecordError(f"{len(leaves)} records where the note counts {batch.count}", where="batch")
    if b64(merkle.root_of(leaves)) != batch.root:
        raise RecordError(
            "the records do not hash to the signed root", where="batch", mend="send the bytes that were signed"
        )


# --- how a batch travels: lines (NDJSON) ---


class _NoteLine(msgspec.Struct, forbid_unknown_fields=True):
    note: str


_decode_note_line = msgspec.json.Decoder(_NoteLine).decode


def record_lines(raw: bytes, disclosures: Sequence[str]) -> bytes:
    """The two lines of a record: its exact bytes, then its disclosures."""
    return raw + b"\n" + line_of(disclosures) + b"\n"


def pack(raw_note: bytes, records: Iterable[tuple[bytes, Sequence[str]]]) -> bytes:
    """The body of a push: the note, then two lines per record."""
    out = [msgspec.json.encode(_NoteLine(raw_note.decode())), b"\n"]
    out.extend(record_lines(raw, disclosures) for raw, disclosures in records)
    return b"".join(out)


def unpack(body: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The note of a push body, and each record by its two lines; RecordError unless it is lines and holds a note."""
    if len(body) > MAX_BYTES:
        raise RecordError(f"a batch has at most {MAX_BYTES} bytes", where="body", mend="split the batch")
    lines = body.split(b"\n")
    if lines.pop() or len(lines) % 2 != 1 or len(lines) > 2 * MAX_RECORDS + 1:
        raise RecordError("not one note line and two lines per record", where="body", mend="end each line with \\n")
    try:
        raw_note = _decode_note_line(lines[0]).note.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RecordError('not {"note": "…"}', where="line 1") from error
    return raw_note, list(zip(lines[1::2], lines[2::2], strict=True))
