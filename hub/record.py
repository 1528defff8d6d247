"""One revision of one record: its canonical bytes, its sealed groups and their disclosures.

A record holds its open fields in clear and, for every other group of its kind, the digest of an RFC 9901 disclosure:
SHA-256 over base64url(JSON [salt, group, {fields}]); null where the group is empty. The record's own salt keeps a
withheld record's leaf hash from being guessed. Every revision draws fresh salts, 128 bits each.
Leaf hash = SHA-256(0x00 ‖ record bytes). Content digest = HMAC of the plain values without salts and volatile fields,
under a key that never leaves the store: by it who signs a record knows whether it changed.
Pure: salts, times and keys are arguments.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from hub.canonical import b64url, encode, require, unb64url
from hub.errors import HubError, Problem, RecordError

MOST_PROBLEMS = 100
# Records looked at together: more do not stay in a core's own memory.
TOGETHER = 16
RETRACT_REASONS = ("vanished", "withdrawn", "corrected", "erased")

_ORIGIN = r"[a-z0-9][a-z0-9_-]{0,31}"
_NAME = r"[a-z][a-z0-9_]{0,39}/[1-9][0-9]{0,3}"
_ID = r"[A-Za-z0-9_-]{21}[AQgw]"
_TIME = r"(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9][+-][01][0-9]:[0-5][0-9]"
_origin = re.compile(_ORIGIN).fullmatch
_time = re.compile(_TIME).fullmatch
# One match for the four: none of them can hold a blank.
_head = re.compile(f"{_ORIGIN} {_NAME} {_ID} {_TIME}").fullmatch
_alphabet = re.compile(r"[A-Za-z0-9_-]*").fullmatch


def is_origin(text: str) -> bool:
    """Whether a text may name an origin: a region code, `hub`, or another short lower-case name."""
    return _origin(text) is not None


def is_time(text: str) -> bool:
    """Whether a text is a time as records and notes write it: a real day and time, seconds and an explicit offset."""
    return _time(text) is not None and _is_real(text)


@lru_cache(maxsize=4096)
def _is_real(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


class ShapeLike(Protocol):
    """What receiving needs of an accepted body's shape."""

    def placed(
        self, body: dict[str, Any], open_: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]
    ) -> bool: ...


class KindLike(Protocol):
    """What sealing and opening need of a kind."""

    @property
    def name(self) -> str: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    def accept(self, body: dict[str, Any]) -> ShapeLike: ...
    def split(self, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any] | None]]: ...
    def join(self, open_: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]: ...
    def essence(self, body: Mapping[str, Any]) -> bytes: ...


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record as it is hashed; `sealed` names every group of the kind."""

    at: str
    id: str
    kind: str
    op: Literal["put", "retract"]
    open: dict[str, Any]
    origin: str
    rev: int
    salt: str
    sealed: dict[str, str | None]
    reason: str | msgspec.UnsetType = msgspec.UNSET


class _Sealed(msgspec.Struct):
    """A record being written, its open fields encoded already."""

    at: str
    id: str
    kind: str
    op: str
    open: msgspec.Raw
    origin: str
    rev: int
    salt: str
    sealed: dict[str, str | None]


class Leaf(NamedTuple):
    """A record on its way to the ledger: its two lines as they travel, and what the store indexes.

    `raw` are its exact bytes, `line` is a JSON list of the disclosures of `groups`, in their order. `digest` is the content
    digest (16 bytes), None for a retraction and for what is signed elsewhere.
    A leaf withheld from a partner has only its hash: see `Withheld`.
    """

    raw: bytes
    groups: tuple[str, ...]
    line: bytes
    origin: str
    kind: str
    id: str
    rev: int
    op: str
    digest: bytes | None

    @property
    def disclosures(self) -> dict[str, str]:
        """The disclosures by group."""
        return by_group(self.groups, self.line)


class Withheld(NamedTuple):
    """A leaf of which only the hash is known here."""

    hash: bytes


class Peek(msgspec.Struct):
    """As much of a stored record as a decision needs, and where it stands."""

    kind: str
    origin: str
    op: str
    open: dict[str, Any]
    id: str
    rev: int
    at: str
    sealed: dict[str, str | None]
    reason: str = ""


_encode_lines = msgspec.json.Encoder(order="sorted").encode_lines
_decode_record = msgspec.json.Decoder(Record).decode
_decode_peek = msgspec.json.Decoder(Peek).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode
_decode_disclosure = msgspec.json.Decoder(tuple[str, str, dict[str, Any]]).decode


def line_of(texts: Iterable[str]) -> bytes:
    """The line in which disclosures travel behind their record: a JSON list."""
    return encode(list(texts))


def texts_of(line: bytes) -> list[str]:
    """The disclosures of a line; RecordError unless it is a JSON list of ASCII texts."""
    try:
        found = _decode_texts(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError("not a JSON list of disclosures", where="disclosures") from error
    if not "".join(found).isascii():
        raise RecordError("not base64url", where="disclosures")
    return found


def by_group(groups: Iterable[str], line: bytes) -> dict[str, str]:
    """The disclosures of a line, whose groups are told beside it, by group."""
    return dict(zip(groups, texts_of(line), strict=True))


def record_id(id_key: bytes, kind: str, source_key: str) -> str:
    """base64url of the first 16 bytes of HMAC-SHA256(id key, kind ‖ 0 ‖ source key): stable and not guessable."""
    mac = hmac.digest(id_key, f"{kind}\0{source_key}".encode(), "sha256")
    return b64url(mac[:16]).decode()


class Plain(NamedTuple):
    """A body ready to be sealed: canonical bytes of its open fields and of each group's, its content digest and size in bytes.

    `closed` are each group's digest, and the line of the disclosures, where they are made already, for one revision, with
    salts of its own; `groups` is empty then.
    """

    open: bytes
    digest: bytes
    size: int
    groups: dict[str, bytes | None]
    closed: tuple[dict[str, str | None], bytes] | None = None

    def close(self, salt: Callable[[], str]) -> "Plain":
        """The same with its groups closed."""
        return self if self.closed else self._replace(groups={}, closed=close_groups(self.groups, salt))


def plain(digest_key: bytes, kind: KindLike, body: dict[str, Any]) -> Plain:
    """Split and encode a body that its kind accepted, once for both its digest and its seal."""
    open_, groups = kind.split(body)
    opened = encode(open_)
    encoded = {group: None if fields is None else encode(fields) for group, fields in groups.items()}
    size = len(opened) + sum(map(len, filter(None, encoded.values())))
    return Plain(opened, content_digest(digest_key, kind, body), size, encoded)


def content_digest(digest_key: bytes, kind: KindLike, body: dict[str, Any]) -> bytes:
    """The keyed digest, 16 bytes, that tells whether a record's plain content changed."""
    return essence_digest(digest_key, kind, kind.essence(body))


def essence_digest(digest_key: bytes, kind: KindLike, essence: bytes) -> bytes:
    """The content digest of what counts of a body as its content."""
    mac = _keyed(digest_key, kind.name).copy()
    mac.update(essence)
    return mac.digest()[:16]


@lru_cache(maxsize=256)
def _keyed(digest_key: bytes, kind: str) -> hmac.HMAC:
    # To set up the key costs as much as to hash a record.
    return hmac.new(digest_key, kind.encode() + b"\0", "sha256")


def close_groups(groups: Mapping[str, bytes | None], salt: Callable[[], str]) -> tuple[dict[str, str | None], bytes]:
    """Each group's digest (None where it is empty), and the line of the disclosures of those that are not empty.

    `salt` draws 128 fresh bits as base64url.
    """
    sealed: dict[str, str | None] = {}
    texts = []
    for group, fields in groups.items():
        if fields is None:
            sealed[group] = None
        else:
            # base64url of canonical [salt, group, {fields}] (RFC 9901 §4.2.1), and SHA-256 over its ASCII (§4.2.3).
            text = b64url(b'["%b","%b",%b]' % (salt().encode(), group.encode(), fields))
            sealed[group] = b64url(sha256(text).digest()).decode()
            texts.append(b'"%b"' % text)
    return sealed, b"[%b]" % b",".join(texts)


def seal(kind: KindLike, content: Plain, *, origin: str, id: str, rev: int, at: str, salt: Callable[[], str]) -> Leaf:
    """Seal what `plain` prepared; `salt` draws 128 fresh bits as base64url."""
    sealed, line = content.closed or close_groups(content.groups, salt)
    groups = tuple(group for group, digest in sealed.items() if digest is not None)
    raw = encode(_Sealed(at, id, kind.name, "put", msgspec.Raw(content.open), origin, rev, salt(), sealed))
    return Leaf(raw, groups, line, origin, kind.name, id, rev, "put", content.digest)


def retract(kind: KindLike, *, origin: str, id: str, rev: int, at: str, reason: str, salt: Callable[[], str]) -> Leaf:
    """The revision that takes a record back: no open field, null groups, a reason code; history stays."""
    groups = dict.fromkeys(kind.groups)
    raw = encode(Record(at, id, kind.name, "retract", {}, origin, rev, salt(), groups, reason))
    return Leaf(raw, (), line_of(()), origin, kind.name, id, rev, "retract", None)


def parse(raw: bytes) -> Record:
    """The record of exact bytes; RecordError unless they are its one byte form."""
    (found,) = parse_all([raw])
    return found


def parse_all(raws: Sequence[bytes]) -> list[Record]:
    """Records of exact bytes, looked at together; RecordError where one of them is not in its one byte form."""
    try:
        records = [_decode_record(raw) for raw in raws]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RecordError("not a record", where="record", mend="see the record format in the partner guide") from error
    if not _canonical(records, raws):
        raise RecordError("not canonical JSON (RFC 8785)", where="record", mend="sort keys, no blanks, no duplicates")
    for record in records:
        if not (_head(f"{record.origin} {record.kind} {record.id} {record.at}") and _is_real(record.at)):
            raise RecordError("origin, kind, id or time is malformed", where="record")
        if not 1 <= record.rev <= 2**31 or len(record.salt) != 22:
            raise RecordError("rev or salt is malformed", where="record")
        if record.op == "put":
            if record.reason is not msgspec.UNSET:
                raise RecordError("a reason code on what is no retraction", where="record")
        elif record.open or any(record.sealed.values()) or record.reason not in RETRACT_REASONS:
            raise RecordError("a retraction has no field, null groups and a reason code", where="record")
    digests = [digest for record in records for digest in record.sealed.values() if digest is not None]
    if not _alphabet("".join(digests)) or not {43}.issuperset(map(len, digests)):
        raise RecordError("a group digest is malformed", where="record")
    return records


def _canonical(values: Sequence[Any], raws: Sequence[bytes]) -> bool:
    """Whether each value's canonical bytes are those given."""
    # No canonical bytes hold a line's end: written a line each, all are equal exactly when each is.
    return _encode_lines(values) == b"\n".join([*raws, b""])


def peek(raw: bytes) -> Peek:
    """A stored record at a glance: it was checked when it came."""
    return _decode_peek(raw)


def disclosed(text: str) -> dict[str, Any]:
    """The fields of a stored disclosure: it was checked when it came."""
    return _decode_disclosure(unb64url(text.encode(), "disclosure"))[2]


def reveal(record: Record, disclosures: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The fields of each disclosed group; RecordError where a disclosure does not fit the record."""
    (found,) = reveal_all([record], [[text.encode("ascii", "replace") for text in disclosures]])
    return found


def reveal_all(records: Sequence[Record], disclosures: Sequence[Sequence[bytes]]) -> list[dict[str, dict[str, Any]]]:
    """`reveal` of several records, looked at together; the error does not say whose disclosure does not fit."""
    plains = [text for texts in disclosures for text in texts]
    # A zero byte behind each 32 makes 44 characters, of which the first 43 are their one spelling.
    spelt = b64url(b"".join([sha256(plain).digest() + b"\0" for plain in plains])).decode()
    digests = [spelt[n : n + 43] for n in range(0, len(spelt), 44)]
    groups: list[str] = []
    for record, texts in zip(records, disclosures, strict=True):
        groups += _groups_of(record, digests[len(groups) : len(groups) + len(texts)])
    opened = iter(_opened([unb64url(plain, "disclosure") for plain in plains], groups))
    return [{group: fields for _, group, fields in islice(opened, len(texts))} for texts in disclosures]


def _opened(raws: Sequence[bytes], groups: Sequence[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Salt, group and fields of each disclosure, of the groups named."""
    opened: list[tuple[str, str, dict[str, Any]]] = []
    try:
        for raw in raws:
            opened.append(_decode_disclosure(raw))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        where = f"disclosure {groups[len(opened)]}"
        raise RecordError("not a JSON list of salt, group and fields", where=where) from error
    for raw, group, (salt, name, _) in zip(raws, groups, opened, strict=True):
        if name != group or len(salt) != 22 or raw[24:27] != b'","':
            raise RecordError("salt or group name does not fit", where=f"disclosure {group}")
    if not _canonical(opened, raws):
        raise RecordError("not canonical JSON (RFC 8785)", where="disclosure")
    return opened


def _groups_of(record: Record, digests: Sequence[str]) -> list[str]:
    """The group of each disclosure, by its digest."""
    held = {group: digest for group, digest in record.sealed.items() if digest is not None}
    # Mostly every group is disclosed, in their order.
    if list(held.values()) == digests:
        return list(held)
    group_of = {digest: group for group, digest in held.items()}
    groups = [group_of.pop(digest, "") for digest in digests]
    if "" in groups:
        raise RecordError("a disclosure whose digest is not in the record, or twice", where="disclosure")
    return groups


def receive(
    kinds: Mapping[str, KindLike], raw: bytes, line: bytes, *, complete: bool, digest_key: bytes | None = None
) -> Leaf:
    """Check a record that came over the wire, or out of the store, and make it ready to store; `line` are its disclosures.

    With `complete` every non-empty group must be disclosed and the whole body keep its kind's rules, masks included
    (what a pusher owes); without, only what was disclosed is checked against the digests (what a partner may see), and
    a record of a kind not known here is kept as it is. With `digest_key` a record of which all is at hand, one that is
    signed here, gets its content digest.
    """
    (leaf,) = _receive(kinds, [(raw, line)], complete=complete, digest_key=digest_key)
    return leaf


def _receive(
    kinds: Mapping[str, KindLike],
    pushed: Sequence[tuple[bytes, bytes]],
    *,
    complete: bool,
    digest_key: bytes | None = None,
) -> list[Leaf]:
    records = parse_all([raw for raw, _ in pushed])
    lines = [_spelt(line) for _, line in pushed]
    revealed = reveal_all(records, [texts for _, texts in lines])
    leaves = []
    for (raw, _), (line, _), record, fields in zip(pushed, lines, records, revealed, strict=True):
        kind = kinds.get(record.kind)
        if kind is None and complete:
            raise RecordError("a kind that is not taken here", where="kind", mend=f"known: {', '.join(sorted(kinds))}")
        digest = None if kind is None else _checked(kind, record, fields, complete=complete, digest_key=digest_key)
        leaves.append(Leaf(raw, tuple(fields), line, record.origin, record.kind, record.id, record.rev, record.op, digest))
    return leaves


def _spelt(line: bytes) -> tuple[bytes, list[bytes]]:
    """A line in its one spelling, and its disclosures, of which not even the alphabet is sure yet."""
    found = line[2:-2].split(b'","')
    # A list without blanks and escapes needs no parser: two quotes each, and what else is in them is no base64url.
    if line[:2] == b'["' and line[-2:] == b'"]' and line.count(b'"') == 2 * len(found) and b"\\" not in line:
        return line, found
    texts = texts_of(line)
    return line_of(texts), [text.encode() for text in texts]


def _checked(
    kind: KindLike, record: Record, fields: dict[str, dict[str, Any]], *, complete: bool, digest_key: bytes | None
) -> bytes | None:
    """The content digest of a received record, None without a key and where not all of it is at hand."""
    if tuple(record.sealed) != kind.groups:
        raise RecordError(f"not the groups of {kind.name}", where="record", mend="name every group; null where empty")
    if record.op == "put" and len(fields) == len(record.sealed) - list(record.sealed.values()).count(None):
        body = kind.join(record.open, fields)
        if complete and not kind.accept(body).placed(body, record.open, fields):
            raise RecordError(
                "a field stands in another group than its kind says, or a mask is not that of its field",
                where="record",
                mend="place fields and compute masks as the kind declares",
            )
        if digest_key is not None:
            return content_digest(digest_key, kind, body)
    elif complete and record.op == "put":
        raise RecordError("a group is not disclosed", where="record", mend="send the disclosure of every group")
    if not complete:
        require(record.open, "open")
    return None


def receive_all(
    kinds: Mapping[str, KindLike], records: Sequence[tuple[bytes, bytes]], first: int = 0
) -> tuple[list[Leaf], list[Problem]]:
    """Every pushed record, by its two lines, as a leaf, or no leaf and every problem of every one (at most MOST_PROBLEMS).

    `first` is the place of the first in its batch.
    """
    leaves: list[Leaf] = []
    problems: list[Problem] = []
    for at in range(0, len(records), TOGETHER):
        part = records[at : at + TOGETHER]
        try:
            leaves += _receive(kinds, part, complete=True)
        except HubError:
            found = _problems(kinds, part, first + at)
            # What was refused together is not let through because each alone is fine.
            if not found:
                raise
            problems += found
            if len(problems) >= MOST_PROBLEMS:
                del problems[MOST_PROBLEMS:]
                problems.append(Problem("", f"stopped after {MOST_PROBLEMS} problems", "mend these and push again"))
                break
    return [] if problems else leaves, problems


def _problems(
    kinds: Mapping[str, KindLike], records: Sequence[tuple[bytes, bytes]], first: int
) -> list[Problem]:
    """What is wrong with records of which one at least cannot be taken: each alone, for the error to name it."""
    problems: list[Problem] = []
    for n, (raw, line) in enumerate(records, first):
        try:
            receive(kinds, raw, line, complete=True)
        except HubError as error:
            found = error.problems or (Problem(error.where, error.what, error.mend),)
            problems += [Problem(f"records.{n}.{each.where}", each.what, each.mend) for each in found]
    return problems
