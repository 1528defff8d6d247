"""A partner's announcement of its keys, and the lines of framework.yaml that pin them.

The announcement is a JSON file with two signed notes: `first`, the city's first key/v1, and `keys`, whose text is
`<hub>/announcement/v1`, `origin`, `first` (the hash of the first note's text), a line `http` for each HTTP key and `witness`,
signed by exactly the keys that sign the city's entries. Nothing in it is secret.
Rule 1. It proves that one hand made it, not whose hand: who pins it compares `first_key` with the city by another way.
Rule 2. Of a city that has entries on the ledger only the keys in force there, or the ones announced as next, may speak.
Rule 3. One raw public key serves one role of one owner.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from hub import batch, note
from hub.batch import Chain, KeyEntry
from hub.errors import HubError, KeyRefused, RecordError
from hub.framework import Member
from hub.keys import KeyRing, distinct, pin_of
from hub.note import COSIGNATURE, VKey, parse_vkey

MOST = 64 << 10


class Held(NamedTuple):
    """A public key and whose it is in which role."""

    owner: str
    role: str
    key: VKey


class Announced(NamedTuple):
    """What a city says of its keys: `first_key` is what the framework pins, `batch` sign its entries."""

    origin: str
    first_key: str
    batch: tuple[VKey, ...]
    http: tuple[VKey, ...]
    witness: VKey

    def text(self, hub: str) -> bytes:
        http = "".join(f"http {key}\n" for key in self.http)
        return f"{hub}/announcement/v1\norigin {self.origin}\nfirst {self.first_key}\n{http}witness {self.witness}\n".encode()

    def held(self) -> list[Held]:
        roles = (("batch", self.batch), ("http", self.http), ("witness", (self.witness,)))
        return [Held(self.origin, role, key) for role, keys in roles for key in keys]

    def plain(self) -> dict[str, Any]:
        return {"code": self.origin, "custody": "self", "first_key": self.first_key, "http_keys": [str(x) for x in self.http],
                "witness_key": str(self.witness), "batch_key": str(self.batch[0])}  # fmt: skip


def keys_of(ring: KeyRing, origin: str, first: bytes) -> Announced:
    """What a node may tell of its keys, its next HTTP key among them where it has one; `first` is its first key/v1."""
    states = ("current", "next") if ring.has("http", origin, "next") else ("current",)
    http = tuple(ring.signer("http", origin, state).vkey for state in states)
    batch_keys = tuple(each.vkey for each in ring.signers(origin))
    return Announced(origin, pin_of(first), batch_keys, http, ring.signer("witness", origin).vkey)


def announce(ring: KeyRing, hub: str, origin: str, first: bytes) -> bytes:
    """The announcement of a node's keys."""
    keys = note.sign(keys_of(ring, origin, first).text(hub), ring.signers(origin))
    return json.dumps({"first": first.decode(), "keys": keys.decode()}, indent=1).encode()


def read(raw: bytes, hub: str, standing: Callable[[str], tuple[Chain, str | None]], others: Iterable[Held]) -> Announced:
    """What an announcement says, once it holds; `standing` gives an origin's chain on the ledger and its first key's pin.

    RecordError where it is no announcement to this hub, KeyRefused where its signatures or keys do not hold together, or
    where one raw public key stands twice, in it or among `others`.
    """
    first, keys = _notes(raw)
    entry = batch.parse(hub, first.text)
    if not isinstance(entry, KeyEntry) or entry.seq != 1 or entry.custody != "self":
        raise RecordError("not the first key/v1 of a city that signs for itself", where="first")
    note.verify_exactly(first, entry.keys)
    told = _said(keys.text, entry)
    if told.text(hub) != keys.text or told.origin != entry.origin or told.first_key != batch.text_hash(first.text):
        raise RecordError("is not about the first key/v1 beside it, or not in its one form", where="keys",
                          mend="have it made anew by `partner init`, and do not edit it")  # fmt: skip
    chain, first_key = standing(told.origin)
    if not chain.keys:
        note.verify_exactly(keys, entry.keys)
    else:
        told = _of_chain(told, keys, chain)._replace(first_key=first_key or told.first_key)
    known = {(each.owner, each.role, each.key.raw): each.key for each in [*others, *told.held()]}
    distinct(list(known.values()))
    return told


def _of_chain(told: Announced, keys: note.Note, chain: Chain) -> Announced:
    """The same, where the keys that signed it are in force on the ledger, or announced there as the next ones."""
    signed = told.batch if batch.keys_hash(told.batch) == chain.next else chain.keys
    try:
        note.verify_exactly(keys, signed)
    except KeyRefused as error:
        mend = f"announce anew; or, where the hub signs for the city: `keys hand-over {told.origin} --to {told.batch[0]}`"
        raise KeyRefused(f"not signed by the keys of {told.origin} on the ledger", where="keys", mend=mend) from error
    return told._replace(batch=signed)


def _notes(raw: bytes) -> tuple[note.Note, note.Note]:
    try:
        found = json.loads(raw) if len(raw) <= MOST else {}
        return note.parse(found["first"].encode()), note.parse(found["keys"].encode())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordError("not an announcement", where="file", mend="ask the city for its node's announcement.json") from error


def _said(text: bytes, entry: KeyEntry) -> Announced:
    """The announcement of a note's text, each line read by its first word; whether that was its one form the caller sees."""
    said = [line.partition(" ")[::2] for line in text.decode("utf-8", "replace").split("\n")]
    only = dict(said)
    try:
        http = tuple(parse_vkey(value) for word, value in said if word == "http")
        return Announced(only["origin"], only["first"], entry.keys, http, parse_vkey(only["witness"], COSIGNATURE))
    except (KeyError, HubError) as error:
        raise RecordError("a line is missing or holds no key", where="keys") from error


def block(told: Announced, name: str, member: Member | None) -> str:
    """The lines for framework.yaml, below `members:` and `witnesses:`; those of a `member` that is there keep what it has."""
    ends = member.http_until if member else {}
    http = [f'{{key: "{key}", until: {ends[str(key)]}}}' if str(key) in ends else f'"{key}"' for key in told.http]
    called = dict(member.name) if member else {"zh": name, "en": f"City {told.origin}"}
    named = "" if member else "   # its English name"
    tier = member.tier if member else "county   # city, county or town"
    return "\n".join(
        (
            f'  "{told.origin}":',
            f"    name: {{zh: {called['zh']}, en: {called['en']}}}{named}",
            f"    tier: {tier}",
            "    custody: self",
            f"    first_key: {told.first_key}",
            f"    http_keys: [{', '.join(http)}]",
            "And, so that this city witnesses the ledger, below `witnesses:` at the left margin:",
            "witnesses:",
            "  quorum: 1   # more than half of the keys",
            f'  keys: [{{name: "{told.origin}", vkey: "{told.witness}"}}]',
        )
    )
