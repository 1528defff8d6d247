"""C2SP signed notes: text, a blank line, signature lines; parsed by hand and strictly.

A verifier key is `name+hex(key id)+base64(type ‖ public key)`; the key id is the first four bytes of
SHA-256(name ‖ 0x0A ‖ type ‖ public key). Signed and checked here are Ed25519 (type 0x01), cosignatures (type 0x04, C2SP
tlog-cosignature v1.0.1), and SM2 with SM3 (a private type). Lines of unknown keys are kept and ignored, a known key with a bad
signature rejects the whole note (signed-note v1.0.0).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub import sm2
from hub.canonical import b64, unb64
from hub.errors import KeyRefused, RecordError

ED25519 = 1
COSIGNATURE = 4
# A type of one's own, 0xff, carries its name: stock clients ignore such a line.
PRIVATE = 0xFF
SM2 = b"crossregion-hub/sm2-sm3/v1\0"
LIMIT = 65_535
SIGNATURES = 16

_name = re.compile(r"[^\s+\x00-\x1f\x7f\u2028\u2029]{1,200}").fullmatch
_control = re.compile("[\x00-\x09\x0b-\x1f\x7f]").search
_vkey = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)").fullmatch


def is_name(text: str) -> bool:
    """Whether a text may name a key or a log: no blank, no plus, no control character."""
    return _name(text) is not None


@dataclass(frozen=True, slots=True)
class VKey:
    """A verifier key: name, type and the raw public key; `id` is its four-byte key id."""

    name: str
    type: int
    raw: bytes

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64(bytes([self.type]) + self.raw)}"

    @property
    def handle(self) -> str:
        """The short form `name+hex(key id)` that HTTP signatures carry as keyid."""
        return f"{self.name}+{self.id.hex()}"

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature of this key over the message holds."""
        if self.type == PRIVATE:
            return self.raw.startswith(SM2) and sm2.verify(self.raw[len(SM2) :], signature, message)
        if len(self.raw) != 32:
            return False
        if self.type == COSIGNATURE:
            if len(signature) != 72:
                return False
            message, signature = _stated(int.from_bytes(signature[:8], "big"), message), signature[8:]
        elif self.type != ED25519:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def parse_vkey(text: str, *types: int) -> VKey:
    """The verifier key of its text form; RecordError unless it is one of these types (Ed25519 alone unless told) in its one
    spelling."""
    match = _vkey(text)
    if not match or not is_name(match[1]):
        raise RecordError("not a verifier key name+id+base64", where="vkey")
    blob = unb64(match[3], None, "vkey")
    key = VKey(match[1], blob[0], blob[1:])  # base64 in its one spelling, and not empty: at least one byte.
    size = len(SM2) + sm2.POINT if key.type == PRIVATE else 32
    whole = len(key.raw) == size and (key.type != PRIVATE or key.raw.startswith(SM2))
    if key.type not in (types or (ED25519,)) or not whole or str(key) != text:
        raise RecordError("key id, type or spelling does not fit", where="vkey")
    return key


class Private(Protocol):
    """What can sign bytes."""

    def sign(self, data: bytes, /) -> bytes: ...


class Signer(NamedTuple):
    """A private key under its public name."""

    vkey: VKey
    private: Private


def sm2_signer(name: str, private: "sm2.Sm2Private") -> Signer:
    """The signer for an SM2 key under `name`."""
    return Signer(VKey(name, PRIVATE, SM2 + private.point), private)


def signer(name: str, private: Ed25519PrivateKey, type: int = ED25519) -> Signer:
    """The signer for a private key under `name`; of type COSIGNATURE it makes cosignatures alone."""
    if not is_name(name):
        raise RecordError("a key name holds a blank, a plus or a control character", where="key name")
    return Signer(VKey(name, type, private.public_key().public_bytes_raw()), private)


class Line(NamedTuple):
    """One signature line."""

    name: str
    id: bytes
    signature: bytes


class Note(NamedTuple):
    """A parsed note: its text bytes (ending in a line feed) and its signature lines."""

    text: bytes
    lines: tuple[Line, ...]


def sign(text: bytes, signers: Sequence[Signer]) -> bytes:
    """The note bytes of a text (ending in a line feed) with one line per signer, in their order."""
    out = [text, b"\n"]
    for each in signers:
        blob = each.vkey.id + each.private.sign(text)
        out.append(f"— {each.vkey.name} {b64(blob)}\n".encode())
    return b"".join(out)


def _stated(time: int, text: bytes) -> bytes:
    """What a cosignature signs: when it was made, and the whole text of the note."""
    return f"cosignature/v1\ntime {time}\n".encode() + text


def cosign(text: bytes, witness: Signer, time: int) -> bytes:
    """The line that adds a witness's cosignature, made at a Unix time in seconds, to a checkpoint's text."""
    blob = witness.vkey.id + time.to_bytes(8, "big") + witness.private.sign(_stated(time, text))
    return f"— {witness.vkey.name} {b64(blob)}\n".encode()


def time_of(line: Line) -> int:
    """When a cosignature says it was made, as a Unix time in seconds."""
    return int.from_bytes(line.signature[:8], "big")


def parse(raw: bytes) -> Note:
    """The parts of a note; RecordError on anything but its one byte form."""
    if len(raw) > LIMIT:
        raise RecordError(f"longer than {LIMIT} bytes", where="note")
    try:
        whole = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise RecordError("not UTF-8", where="note") from None
    if _control(whole):
        raise RecordError("a control character", where="note")
    text, cut, tail = whole.rpartition("\n\n")
    if not cut or not tail.endswith("\n"):
        raise RecordError("no blank line before the signatures", where="note")
    lines = []
    for line in tail[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—" or not is_name(parts[1]):
            raise RecordError("a malformed signature line", where="note")
        blob = unb64(parts[2], None, "note signature")
        if len(blob) < 5:
            raise RecordError("a signature too short", where="note")
        lines.append(Line(parts[1], blob[:4], blob[4:]))
    if len(lines) > SIGNATURES:
        raise RecordError(f"more than {SIGNATURES} signatures", where="note")
    return Note((text + "\n").encode(), tuple(lines))


def verify(note: Note, known: Sequence[VKey]) -> tuple[VKey, ...]:
    """The known keys that signed; KeyRefused where none did, or a known key's signature is bad."""
    seen = []
    for line in note.lines:
        for key in known:
            if key.name == line.name and key.id == line.id:
                if not key.verify(line.signature, note.text):
                    raise KeyRefused("a known key's signature does not hold", where=f"note of {key.name}")
                if key not in seen:
                    seen.append(key)
    if not seen:
        raise KeyRefused("no signature by a known key", where="note", mend="compare the pinned vkey with the signer's")
    return tuple(seen)


def verify_exactly(note: Note, keys: Sequence[VKey]) -> None:
    """Raise KeyRefused unless exactly these keys signed, one line each, in this order."""
    if [(line.name, line.id) for line in note.lines] != [(key.name, key.id) for key in keys]:
        raise KeyRefused("the signature lines are not those of the keys in force", where="note")
    for line, key in zip(note.lines, keys, strict=True):
        if not key.verify(line.signature, note.text):
            raise KeyRefused("a signature does not hold", where=f"note of {key.name}")


# --- checkpoints (C2SP tlog-checkpoint v1.0.0) ---


class Checkpoint(NamedTuple):
    """A log's size and root under its origin line."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n".encode()


_number = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch


def number(text: str, where: str = "number") -> int:
    """A decimal number in its one spelling."""
    if not _number(text):
        raise RecordError("not a plain decimal number", where=where)
    return int(text)


def parse_checkpoint(text: bytes, origin: str) -> Checkpoint:
    """The checkpoint of a note's text; RecordError unless exactly three lines under this origin."""
    lines = text.decode("utf-8").split("\n")
    if len(lines) != 4 or lines[3]:
        raise RecordError("not three lines", where="checkpoint")
    if lines[0] != origin:
        raise RecordError("of another log", where="checkpoint", mend="check the hub's name in the connection card")
    return Checkpoint(origin, number(lines[1], "checkpoint size"), unb64(lines[2], 32, "checkpoint root"))


def open_checkpoint(raw: bytes, key: VKey) -> Checkpoint:
    """The checkpoint of a note signed by the ledger key, whose name is the log's origin."""
    note = parse(raw)
    verify(note, [key])
    return parse_checkpoint(note.text, key.name)
