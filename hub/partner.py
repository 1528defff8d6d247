"""A partner's side: its node's folder, collecting and signing its own records, pushing, pulling, verifying, exporting.

A node holds two ledgers in two stores of the same kind. `own` holds what this city signed, in its order, whether pushed
or not; `copy` mirrors the hub's ledger, each entry checked against its origin's chain and the whole against the signed
checkpoint.
Rule 1. Nothing pulled is kept before its page is proven to lead to the signed checkpoint, and nothing already held may
change: a fork or a shrunken ledger is Tampered.
Rule 2. Every step is idempotent: after any interruption the same command goes on where the hub and the store say.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from hub import audit, batch, erasure, merkle, note, pins, record
from hub.announce import KIND as FRAMEWORK_KIND
from hub.announce import texts_on_ledger
from hub.audit import Damaged, check_proof, damaged, entries
from hub.canonical import b64, b64url, unb64
from hub.errors import ChainError, ConfigError, HubError, KeyRefused, Problem, RecordError, Tampered, Unreachable
from hub.evidence import TrustFile
from hub.export import replace_file
from hub.framework import HUB, correspondents, from_texts
from hub.intake import Issuer, Reference
from hub.keys import KeyRing, pin_of, write_private
from hub.kinds import Kind
from hub.ledger import HeadFile, Ledger, Pin, PlainSeal, ReaderSeal, Submission, proven
from hub.note import Checkpoint, VKey
from hub.record import Leaf, Withheld
from hub.store.base import Entry, Held, Store
from hub.store.sqlite import SqliteStore
from hub.wire import Client, HttpKey, Reply
from hub.witness import Answer, Cosign, Forked, Policy, Seen, answer, fork_of, parse_ask, policy_of

_log = logging.getLogger("hub.partner")
AUDIT = "audit/1"
ANNOUNCEMENT = "announcement.json"
_TELL = "keep this copy and compare with other partners"
BATCH_TYPE = "application/vnd.crossregion.batch"
FILE_TYPE = "application/octet-stream"
_PINS, _NOTICE, _PUSHED, _PROMISED = "pinned first keys", "last notice", "pushed", "promised checkpoint"
_KEPT = "kept from ended agreements"
_SEEN, _SEEN_NOTE = "cosigned", "cosigned checkpoint"

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Card:
    """What a hub's operator hands to a partner: who the hub is, and the keys to believe. Nothing in it is secret."""

    hub: str
    url: str
    ledger: str
    http: str
    hub_first_key: str


@dataclass(frozen=True)
class NodeFile:
    """node.json: the hub's card, this node's origin, and how it reaches the hub."""

    card: Card
    origin: str
    ca_file: str | None = None
    proxy: str | None = None


def read_node(folder: Path) -> NodeFile:
    """node.json of a node's folder; HubError where there is none."""
    path = folder / "node.json"
    if not path.exists():
        raise HubError("no node here", where=str(path), mend="run `python3 run.py partner init --data DIR …` first")
    try:
        plain = json.loads(path.read_bytes())
        return NodeFile(Card(**plain.pop("card")), **plain)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise HubError("cannot be read as a node's file", where=str(path), mend="run `partner init` anew with the hub's card "
                       "after moving it away: the keys stay") from None  # fmt: skip


def init(folder: Path, node: NodeFile, ring: KeyRing, now: Clock) -> dict[str, str]:
    """Make a node: its keys, its first key/v1 and node.json; gives what the hub's operator puts into framework.yaml."""
    hub, origin = node.card.hub, node.origin
    if not record.is_origin(origin) or origin == "hub":
        raise ConfigError(["--origin: a jurisdiction's code, such as 330521"])
    if (folder / "node.json").exists() and read_node(folder) != node:
        raise HubError(
            "another node is here", where=str(folder), mend="choose another folder; one node is one city at one hub"
        )
    at = now().isoformat(timespec="seconds")
    first = ring.first_note(hub, origin, "self", at)
    http = ring.create("http", origin, f"{hub}/{origin}/http", since=at)
    cosigner = ring.create("witness", origin, f"{hub}/{origin}/witness", since=at)
    ring.secrets()
    if not (folder / "node.json").exists():
        write_private(folder / "node.json", json.dumps(asdict(node), indent=1).encode())
    replace_file(folder / ANNOUNCEMENT, pins.announce(ring, hub, origin, first))
    return {"code": origin, "custody": "self", "first_key": pin_of(first), "http_key": str(http.vkey),
            "witness_key": str(cosigner.vkey), "batch_key": str(ring.signer("batch", origin).vkey)}  # fmt: skip


def new_key(folder: Path, ring: KeyRing, role: str, owner: str, now: Clock) -> str:
    """Make a node's missing http or witness key, or a next http key beside the one in use, and announce it; gives its vkey."""
    node, at = read_node(folder), now().isoformat(timespec="seconds")
    hub, origin = node.card.hub, node.origin
    if owner != origin:
        raise ConfigError([f"{owner}: this node is that of {origin}; make the key on its owner's own node"])
    if role not in ("http", "witness"):
        raise ConfigError([f"{role}: a node's keys of this role are made by `partner init` and replaced by `partner rotate`"])
    state = "next" if role == "http" and ring.has(role, origin) else "current"
    made = ring.new(role, origin, f"{hub}/{origin}/{role}", state, "" if state == "next" else at)
    replace_file(folder / ANNOUNCEMENT, pins.announce(ring, hub, origin, ring.first_note(hub, origin, "self", at)))
    return str(made.vkey)


class _PageSeal(ReaderSeal):
    """Believes the hub's signed checkpoint for a page, once the page is proven to lead to it.

    `promised` is the checkpoint under which an earlier page of a pull came that is not finished: it binds the hub too.
    """

    def __init__(self, key: VKey, raw: bytes, proof: Sequence[bytes], promised: Checkpoint | None) -> None:
        super().__init__(key)
        self._raw, self._proof, self._promised = raw, proof, promised

    def make(self, checkpoint: Checkpoint, read: merkle.Reader) -> bytes:
        proven(checkpoint, self.read(self._raw), self._proof)
        promised = self._promised
        if promised is not None and checkpoint.size >= promised.size:
            proven(Checkpoint(promised.origin, promised.size, merkle.root(read, promised.size)), promised, [])
        return self._raw


class _EntryLine(msgspec.Struct):
    index: int
    leaves: int
    note: str


class _Notice(msgspec.Struct):
    notice: int
    type: str
    origin: str = ""
    kind: str = ""
    groups: list[str] = []
    upto: int = 0
    id: str = ""


class _EndLine(msgspec.Struct):
    checkpoint: str
    consistency: list[str]
    next: int
    notice: int


_decode_line = msgspec.json.Decoder(dict[str, Any]).decode
_decode_hash = msgspec.json.Decoder(str).decode


class _Page(NamedTuple):
    """One answer to a pull: entries with their leaves, notices, and the end line."""

    entries: list[tuple[int, bytes, list[Leaf | Withheld] | None]]
    notices: list[_Notice]
    checkpoint: bytes
    consistency: list[bytes]
    next: int
    notice: int


class Node:
    """An open node; `kinds` are the record kinds it knows."""

    def __init__(
        self, folder: Path, ring: KeyRing, kinds: Mapping[str, Kind], now: Clock, *, timeout: float = 120
    ) -> None:
        self.file = read_node(folder)
        self.folder, self.kinds, self._now, self._ring = folder, kinds, now, ring
        card, secrets = self.file.card, ring.secrets()
        self.origin, self.hub = self.file.origin, card.hub
        self._secrets, self.digest_key = secrets, secrets.digest_key
        self._ledger_key = note.parse_vkey(card.ledger)
        self._cosigner, self._witness_keys = ring.signer("witness", self.origin), set[VKey]()
        self.own_store: Store = SqliteStore(folder / "own" / "store.db", secrets.vault())
        self.copy_store: Store = SqliteStore(folder / "copy" / "store.db", secrets.vault())
        self._pins = json.loads(self.copy_store.get(_PINS) or "{}") | {"hub": [card.hub_first_key, "self"]}
        self._taken = ring.taken_over(self.origin)
        own_pin = (
            self._taken[0]
            if self._taken
            else pin_of(ring.first_note(card.hub, self.origin, "self", now().isoformat(timespec="seconds")))
        )
        self.own = Ledger(
            self.own_store, HeadFile(folder / "own-head" / "checkpoint"), PlainSeal(f"{card.hub}/{self.origin}/own"),
            card.hub, lambda origin: Pin(own_pin, "self") if origin == self.origin else None, signs=lambda chain: True,
        )  # fmt: skip
        self.copy = Ledger(
            self.copy_store, HeadFile(folder / "copy-head" / "checkpoint"), _FirstSeal(self._ledger_key),
            card.hub, self._trust, signs=lambda chain: False, whole=False,
        )  # fmt: skip
        self._timeout = timeout
        self._client = self._caller("current")
        self.own.open()
        self.copy.open()

    def _caller(self, state: str) -> Client:
        """Calls the hub with the HTTP key of a state."""
        card, http = self.file.card, HttpKey.signing(self.origin, self._ring.signer("http", self.origin, state))
        return Client(card.url, http, card.http, ca_file=self.file.ca_file, proxy=self.file.proxy, now=self._now,
                      timeout=self._timeout)  # fmt: skip

    def close(self) -> None:
        self._client.close()
        self.own_store.close()
        self.copy_store.close()

    def _trust(self, origin: str) -> Pin | None:
        found = self._pins.get(origin)
        return Pin(*found) if found else None

    # --- collect ---

    def issuer(self, origin: str) -> Issuer:
        """Signs this city's own records onto its own ledger; the first key/v1 is put there first."""
        if origin != self.origin:
            raise KeyRefused(f"this node signs for {self.origin} only", mend=f"collect {origin} on its own node")
        if not self.own.chain(origin).keys:
            first = self._ring.first_note(self.hub, origin, "self", self._now().isoformat(timespec="seconds"))
            self.own.append([Submission(first, None)])
        id_key = self._taken[1] if self._taken else self._secrets.id_key(origin)
        return Issuer(
            self.own, origin, lambda: self._ring.signers(origin), id_key, self.digest_key, self._now
        )

    def rotate(self, void_from: int = 0, second: bool | None = None) -> str:
        """Bring this city's `next` key into force on its own ledger, to be pushed like any entry; gives its vkey.

        With `void_from` this city's entries that the hub holds and this node never signed are taken over first, as the copy
        shows them: the new key entry disowns them and the chain goes on behind them.
        """
        self.issuer(self.origin)
        if void_from:
            self._take_over()
        found = self._ring.rotate(
            self.origin, self.own.chain(self.origin), lambda raw: self.own.append([Submission(raw, None)]),
            self.hub, self._now().isoformat(timespec="seconds"), void_from, second=second,
        )  # fmt: skip
        return str(found)

    def replace_http(self) -> str:
        """Call with the next HTTP key from the next start on, once the hub takes it; gives its vkey."""
        if self._ring.has("http", self.origin, "next"):
            with contextlib.closing(self._caller("next")) as caller:
                reply = caller.get("/v1/framework")
            if reply.status != 200:
                raise _refused(reply)
        return str(self._ring.replace_http(self.origin, self._now().isoformat(timespec="seconds")))

    def _take_over(self) -> None:
        seq = self.own.chain(self.origin).seq + 1
        while (entry := self.copy_store.entry_at(self.origin, seq)) is not None:
            leaves = None
            if entry.first is not None:
                held = self.copy_store.leaves(entry.first, entry.count)
                leaves = [audit.stored(each, self.kinds, self.digest_key) for each in held]
            self.own.append([Submission(entry.note, leaves)])
            seq += 1

    def take_over(self, given: Mapping[str, str]) -> None:
        """Go on with the chain that the hub signed for this city: `given` is what its `keys hand-over` wrote.

        The copy must hold the whole chain (pull first), and the framework must say `custody: self` by then, so that the hub
        adds nothing more. Interrupted anywhere, the same call goes on.
        """
        chain, key = self.copy.chain(self.origin), self._ring.signer("batch", self.origin)
        if (given.get("hub"), given.get("origin")) != (self.hub, self.origin):
            raise ConfigError([f"not a hand-over of {self.origin} by {self.hub}"])
        if key.vkey not in chain.keys and batch.keys_hash([key.vkey]) != chain.next:
            raise KeyRefused(f"the chain of {self.origin} does not announce this node's key",
                             mend=f"run `keys hand-over {self.origin} --to {key.vkey}` at the hub; pull")  # fmt: skip
        if self._taken is None:
            if self.own_store.size():
                raise HubError("this node has signed a chain of its own", where=str(self.folder),
                               mend="take over with a new node, made by `partner init`")  # fmt: skip
            self._ring.keep_taken_over(self.origin, given["first_key"], unb64(given["id_key"], 32, "id_key"))
            self._taken = self._ring.taken_over(self.origin)
            assert self._taken is not None
            pin = Pin(self._taken[0], "self")
            self.own.trust = lambda origin: pin if origin == self.origin else None
        self._take_over()
        own = self.own.chain(self.origin)
        if own.custody != "self":
            with self.own_store.transaction():
                self.own_store.put(_PUSHED, str(own.seq))
            following, time = self._ring.signer("batch", self.origin, "next"), self._now().isoformat(timespec="seconds")
            raw = batch.next_key(self.hub, own, [key], [following.vkey], time, custody="self")
            self.own.append([Submission(raw, None)])

    # --- push ---

    def push(self) -> dict[str, int]:
        """Send every own entry the hub has not acknowledged, in order; gives how many were new and known there."""
        self.issuer(self.origin)
        sent = known = 0
        seq = int(self.own_store.get(_PUSHED) or "0") + 1
        while (entry := self.own_store.entry_at(self.origin, seq)) is not None:
            reply = self._client.post("/v1/batches", self._body(entry), BATCH_TYPE)
            if reply.status == 409:
                seq = self._resume(reply, seq)
                continue
            if reply.status not in (200, 201):
                raise _refused(reply)
            self._check_receipt(entry, reply.body)
            sent, known = sent + (reply.status == 201), known + (reply.status == 200)
            with self.own_store.transaction():
                self.own_store.put(_PUSHED, str(seq))
            seq += 1
        return {"sent": sent, "known": known, "seq": seq - 1}

    def _body(self, entry: Entry) -> bytes:
        leaves = self.own_store.leaves(entry.first, entry.count) if entry.first is not None else ()
        return batch.pack(entry.note, ((held.raw or b"", list(held.disclosures.values())) for held in leaves))

    def _resume(self, reply: Reply, seq: int) -> int:
        """Where the hub says this chain goes on; Tampered where it holds another chain than ours."""
        expected = msgspec.json.decode(reply.body).get("expected", {})
        wanted, prev = int(expected.get("seq", 0)), expected.get("prev")
        before = self.own_store.entry_at(self.origin, wanted - 1)
        ours = before.text_hash if before else batch.NOTHING
        if wanted < 1 or wanted == seq or prev != ours or self.own_store.entry_at(self.origin, wanted) is None:
            raise Tampered(
                f"the hub holds another chain of {self.origin} than this node signed (it expects seq {wanted})",
                mend="an older copy of this node was restored, or somebody else signs with its key: "
                "compare with the hub's operator",
            )
        return wanted

    def _check_receipt(self, entry: Entry, body: bytes) -> None:
        """The receipt proves our very bytes on the ledger, under a checkpoint of the pinned key."""
        try:
            text = msgspec.json.decode(body)["receipt"].encode()
            check_proof(text, merkle.leaf_hash(entry.note), self._ledger_key)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            raise Unreachable("the hub's answer is no receipt") from error

    # --- pull ---

    def pull(self, progress: Callable[[int, int], None] | None = None) -> dict[str, int]:
        """Fetch, verify and keep everything new; Tampered for a fork or a shrunken ledger."""
        for each in (self.copy_store, self.own_store):
            # Left waiting by a pull that was killed, or beside which somebody read.
            erasure.scrub(each)
        self._learn()
        new = 0
        while True:
            store = self.copy_store
            page = self._page(store.size(), int(store.get(_NOTICE) or "0"))
            published = ReaderSeal(self._ledger_key).read(page.checkpoint)
            new += self._keep(page, published)
            if progress:
                progress(store.size(), published.size)
            self._carry_out(page.notices)
            if store.size() == published.size and not page.notices:
                break
        if page.notice or new:
            self._page(store.size(), page.notice)
        return {"new": new, "size": self.copy_store.size(), "cosigned": self._cosign()}

    # --- witness ---

    def _cosign(self) -> int:
        """Cosign the checkpoint that the hub asks its witnesses for, once the copy shows it to be one of its tree.

        Gives its size; 0 where this node is no declared witness, or cosigned a larger one before.
        """
        self._refuse_other_cosigned()
        if self._cosigner.vkey not in self._witness_keys:
            return 0
        reply = self._client.get("/v1/cosignatures")
        if reply.status != 200:
            raise _refused(reply)
        asked = ReaderSeal(self._ledger_key).read(reply.body)
        if asked.size > self.copy_store.size():
            return 0
        mine = merkle.root(self.copy_store.tile, asked.size)
        if asked.root != mine:
            self._forked(reply.body, asked)
        if not self._advance(asked, reply.body):
            return 0
        line = Cosign(self._cosigner, self._now)(note.parse(reply.body).text)
        given = self._client.post("/v1/cosignatures", reply.body + line, "text/plain")
        if given.status != 200:
            raise _refused(given)
        return asked.size

    def _refuse_other_cosigned(self) -> None:
        """Where the copy has come as far as what was cosigned when it was brought here: it must be the same tree."""
        seen = self._seen()
        if 0 < seen.size <= self.copy_store.size() and merkle.root(self.copy_store.tile, seen.size) != seen.root:
            raw = (self.copy_store.get(_SEEN_NOTE) or "").encode()
            self._forked(raw, Checkpoint(self._ledger_key.name, seen.size, seen.root))

    def _advance(self, asked: Checkpoint, raw: bytes) -> bool:
        """Note durably that a tree is cosigned from now on, before it is; False where a larger one was."""
        with self.copy_store.transaction():
            seen = self._seen()
            if asked.size < seen.size:
                return False
            if asked.size == seen.size and asked.root != seen.root:
                raise Tampered("another tree of a size that this node cosigned", mend="keep this copy and tell the others")
            self._note_cosigned(Seen(asked.size, asked.root), raw)
        return True

    def _seen(self) -> Seen:
        size, root = json.loads(self.copy_store.get(_SEEN) or "[0, null]")
        return Seen(size, unb64(root, 32)) if root else Seen()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer an add-checkpoint of tlog-witness by the same state that pulls cosign by; the proof of a fork is kept."""
        with self.copy_store.transaction():
            found = answer(self._seen(), body, self._ledger_key, Cosign(self._cosigner, self._now))
            fork = self._fork_in(body)
            if found.seen is not None:
                if fork is None:
                    self._note_cosigned(found.seen, parse_ask(body).checkpoint)
                else:
                    found = Answer(422, b"another tree than this witness holds a signed checkpoint of\n")
        if fork is not None:
            replace_file(self.folder / "fork.json", fork)
            _log.error("the hub's key signed two trees: %s shows it", self.folder / "fork.json")
        return found

    def _note_cosigned(self, seen: Seen, raw: bytes) -> None:
        """Inside the caller's transaction. The note stays too: it is half of a proof, should the hub show another tree."""
        self.copy_store.put(_SEEN, json.dumps([seen.size, b64(seen.root)]))
        self.copy_store.put(_SEEN_NOTE, raw.decode())

    def _fork_in(self, body: bytes) -> bytes | None:
        """The proof that a checkpoint brought here is of another tree than this node cosigned or holds, if it is."""
        try:
            raw = parse_ask(body).checkpoint
            shown = note.open_checkpoint(raw, self._ledger_key)
        except HubError:
            return None
        seen, cosigned = self._seen(), self.copy_store.get(_SEEN_NOTE)
        if cosigned and shown.size == seen.size and shown.root != seen.root:
            return fork_of(self.hub, raw, cosigned.encode())
        return self._fork(raw, shown)

    def _fork(self, raw: bytes, shown: Checkpoint) -> bytes | None:
        """The proof that a signed checkpoint is of another tree than this copy's published one; None where nothing shows it."""
        head = self.copy.head.read()
        held = ReaderSeal(self._ledger_key).read(head) if head else None
        if not raw or head is None or held is None or not 0 < shown.size <= held.size:
            return None
        mine = merkle.root(self.copy_store.tile, shown.size)
        if mine == shown.root:
            return None
        between = (mine, merkle.consistency(self.copy_store.tile, shown.size, held.size))
        return fork_of(self.hub, raw, head, *(() if held.size == shown.size else between))

    def _forked(self, raw: bytes, shown: Checkpoint) -> NoReturn:
        """Raise Forked with the proof, kept as fork.json beside the copy."""
        document = self._fork(raw, shown)
        if document is None:
            raise Tampered(f"the hub signed another tree of {shown.size} entries than this copy holds", mend=_TELL)
        replace_file(self.folder / "fork.json", document)
        self._show_head()
        raise Forked(f"the hub's key signed two trees of {shown.size} entries: this copy's and another", document)

    def _learn(self) -> None:
        """Pin the first key of each origin at first sight; a pin that changes is a lie, now or then."""
        reply = self._client.get("/v1/framework")
        if reply.status != 200:
            raise _refused(reply)
        seen = msgspec.json.decode(reply.body)
        pins, custody = seen["pins"], seen["custody"]
        policy = policy_of(seen["witnesses"]) if seen.get("witnesses") else None
        self._witness_keys = {each.vkey for each in policy.witnesses} if policy else set()
        for origin, first_key in pins.items():
            standing = self._pins.get(origin)
            if standing is not None and standing[0] != first_key:
                raise Tampered(
                    f"the hub now names another first key of {origin}", mend="compare with that city by telephone"
                )
            self._pins[origin] = [first_key, "self" if origin == "hub" else custody.get(origin, "custodial")]
        with self.copy_store.transaction():
            self.copy_store.put(_PINS, json.dumps(self._pins, sort_keys=True))

    def _page(self, after: int, notice: int) -> _Page:
        asked: dict[str, str | int] = {"after": after, "notice": notice}
        if after == self.copy_store.size():
            # By the root the hub knows that both hold the same, and shows where they do not.
            asked["root"] = b64url(merkle.root(self.copy_store.tile, after)).decode()
        reply = self._client.get("/v1/entries", asked)
        if reply.status == 422:
            self._show_head()
            raise Tampered(
                f"the hub's ledger has shrunk: this copy holds {after} entries",
                mend="run `partner verify`, keep this copy, and compare with other partners: history was cut",
            )
        if reply.status != 200:
            raise _refused(reply)
        return self._parse_page(reply.body)

    def _show_head(self) -> None:
        """Show the hub the checkpoint it signed for more than it has now: by it the hub stops signing."""
        head = self.copy.head.read()
        if head:
            with contextlib.suppress(HubError):
                self._client.post("/v1/cosignatures", head, "text/plain")

    def _parse_page(self, body: bytes) -> _Page:
        lines = iter(body.split(b"\n")[:-1])
        entries: list[tuple[int, bytes, list[Leaf | Withheld] | None]] = []
        notices: list[_Notice] = []
        try:
            for raw in lines:
                plain = _decode_line(raw)
                if "index" in plain:
                    head = msgspec.convert(plain, _EntryLine)
                    leaves = [self._leaf(lines) for _ in range(head.leaves)] or None
                    entries.append((head.index, head.note.encode(), leaves))
                elif "checkpoint" in plain:
                    end = msgspec.convert(plain, _EndLine)
                    proof = [unb64(each, 32, "consistency") for each in end.consistency]
                    return _Page(entries, notices, end.checkpoint.encode(), proof, end.next, end.notice)
                else:
                    notices.append(msgspec.convert(plain, _Notice))
        except (msgspec.DecodeError, UnicodeError, RecursionError, StopIteration) as error:
            raise Unreachable("a line of the hub's answer cannot be read", where="/v1/entries") from error
        raise Unreachable("the hub's answer breaks off", where="/v1/entries", mend="pull again")

    def _leaf(self, lines: Iterator[bytes]) -> Leaf | Withheld:
        first = next(lines)
        if first.startswith(b'"'):
            return Withheld(unb64(_decode_hash(first), 32, "leaf hash"))
        return self._receive(first, next(lines))

    def _receive(self, raw: bytes, line: bytes) -> Leaf:
        return record.receive(self.kinds, raw, line, complete=False)

    def _origins(self, page: _Page) -> Iterator[str]:
        for _, raw, _ in page.entries:
            try:
                yield batch.parse(self.hub, note.parse(raw).text).origin
            except RecordError:
                continue

    def _keep(self, page: _Page, published: Checkpoint) -> int:
        """Append a page's entries, or, where it brings none, hold the checkpoint against the copy."""
        size, promised = self.copy_store.size(), self._promised()
        seal = _PageSeal(self._ledger_key, page.checkpoint, page.consistency, promised)
        if [index for index, _, _ in page.entries] != list(range(size, size + len(page.entries))):
            raise Unreachable("the entries are not the next ones", where="/v1/entries", mend="pull again")
        mine = Checkpoint(self.hub, size, merkle.root(self.copy_store.tile, size))
        if published.size == size and published.root != mine.root:
            self._forked(page.checkpoint, published)
        if published.size < size:
            proven(mine, published, [])
        if promised is not None and published.size < promised.size:
            proven(promised, published, [])
        if not page.entries:
            if published.size > size:
                raise Unreachable("the hub holds more entries and sends none", where="/v1/entries", mend="pull again")
            return 0
        upto = size + len(page.entries)

        def promise() -> None:
            if promised is None or upto >= promised.size:
                self.copy_store.put(_PROMISED, page.checkpoint.decode() if upto < published.size else "")

        unnamed = {origin for origin in self._origins(page) if self._trust(origin) is None}
        if unnamed:
            raise Unreachable(
                f"the hub has entries of {', '.join(sorted(unnamed))} and has not said which first key is theirs",
                where="/v1/framework",
                mend="pull again later; the hub's operator restarts `serve` after a change of framework.yaml",
            )
        try:
            self.copy.append([Submission(raw, leaves) for _, raw, leaves in page.entries], promise, seal=seal)
        except (ChainError, KeyRefused, RecordError) as error:
            raise Tampered(
                f"an entry of the hub's ledger does not hold: {error}",
                mend="keep this copy and tell the other partners",
            ) from error
        return len(page.entries)

    def _promised(self) -> Checkpoint | None:
        """The signed checkpoint that a pull which broke off was on its way to."""
        raw = self.copy_store.get(_PROMISED)
        return ReaderSeal(self._ledger_key).read(raw.encode()) if raw else None

    # --- notices ---

    def _carry_out(self, notices: Iterable[_Notice]) -> None:
        """Do what notices ask, in their order, and remember what is done; the next pull acknowledges it."""
        for type, run in groupby(notices, lambda each: each.type):
            same = list(run)
            if type == erasure.FORGET:  # Together: each would walk the whole copy.
                self._forget(same)
                self._done(same[-1])
                continue
            for notice in same:
                if type == "reissue":
                    self._refill(notice.origin, notice.upto)
                elif type == "erase":
                    self._erase(notice.origin, notice.kind, set(notice.groups))
                elif type == "ended":
                    self._keep_ended(notice.origin, notice.kind, set(notice.groups))
                self._done(notice)

    def _done(self, notice: _Notice) -> None:
        with self.copy_store.transaction():
            self.copy_store.put(_NOTICE, str(notice.notice))

    def _refill(self, origin: str, upto: int) -> None:
        """Pull old entries again and add what may be seen of them now."""
        at = 0
        while at < min(upto, self.copy_store.size()):
            page = self._page(at, int(self.copy_store.get(_NOTICE) or "0"))
            for index, raw, leaves in page.entries:
                entry = self.copy_store.entry(index)
                if entry is None or index >= upto:
                    return
                if entry.note != raw:
                    raise Tampered(
                        f"entry {index} is another than this copy holds", mend="keep this copy and tell the others"
                    )
                if entry.origin == origin and leaves:
                    self._fill(entry, leaves)
            if page.next <= at:
                return
            at = page.next

    def _fill(self, entry: Entry, leaves: Sequence[Leaf | Withheld]) -> None:
        step = self.copy.check(Submission(entry.note, leaves))
        store = self.copy_store
        with store.transaction():
            if entry.first is None:
                first = store.append_leaves(leaves, step.hashes)
                store.set_first(entry.index, first)
            else:
                first, held = entry.first, list(store.leaves(entry.first, entry.count))
                # What an ended agreement left here to keep stays beside what is shown now.
                leaves = [self._merged(each, leaf) for each, leaf in zip(held, leaves, strict=True)]
                for number, (leaf, hash) in enumerate(zip(leaves, step.hashes, strict=True), first):
                    if not isinstance(leaf, Withheld):
                        store.fill_leaf(number, leaf, hash)
            self.copy.index(leaves, first, renew=True)

    def _merged(self, held: Held, leaf: Leaf | Withheld) -> Leaf | Withheld:
        if isinstance(leaf, Withheld) or held.disclosures.keys() <= set(leaf.groups):
            return leaf
        return self._receive(leaf.raw, record.line_of((held.disclosures | leaf.disclosures).values()))

    def _erase(self, origin: str, kind: str, groups: set[str]) -> None:
        """Give back what an agreement no longer grants: disclosures of groups, or whole records."""
        gone, nothing = erasure.WHOLE if "open" in groups else frozenset(groups), frozenset[str]()
        with self.copy_store.transaction():
            erasure.strip(self.copy, self.kinds, self.digest_key, {origin}, lambda what: gone if what.kind == kind else nothing)
            if gone == erasure.WHOLE:
                self.copy_store.drop_current(origin, kind)
            self.copy_store.put(erasure.SCRUB, "pending")
        erasure.scrub(self.copy_store)

    def _forget(self, notices: Iterable[_Notice]) -> None:
        """What the hub erased goes here too: from the copy, and from this city's own store where it is its record."""
        gone: dict[Reference, frozenset[str]] = {}
        for each in notices:
            what = Reference(each.origin, each.kind, each.id)
            gone[what] = gone.get(what, frozenset()) | frozenset(each.groups)
        mine = {what: groups for what, groups in gone.items() if what.origin == self.origin}
        for ledger, part in ((self.copy, gone), (self.own, mine)):
            if part:
                with ledger.store.transaction():
                    erasure.forget(ledger, self.kinds, self.digest_key, part)
                erasure.scrub(ledger.store)

    def _keep_ended(self, origin: str, kind: str, groups: set[str]) -> None:
        """What an agreement that ended lets this copy keep is no more than it may hold."""
        kept = self._kept()
        kept[f"{origin} {kind}"] = sorted(groups | set(kept.get(f"{origin} {kind}", ())))
        with self.copy_store.transaction():
            self.copy_store.put(_KEPT, json.dumps(kept, sort_keys=True))

    def _kept(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(self.copy_store.get(_KEPT) or "{}")
        return found

    # --- what is damaged, and what is too much ---

    def damaged(self) -> list[Damaged]:
        """Every entry of the copy that does not hold."""
        return damaged(self.copy, self.kinds)

    def mend(self) -> list[Damaged]:
        """Pull again what is damaged, by the ordinary pages and checks, and derive the views anew; gives what it was.

        Tampered where what the hub serves is not what the signed checkpoint held here covers.
        """
        broken = self.damaged()
        wanted = {each.entry for each in broken}
        fetched: dict[int, tuple[bytes, list[Leaf | Withheld] | None]] = {}
        for index in sorted(wanted):
            if index not in fetched:
                page = self._page(index, int(self.copy_store.get(_NOTICE) or "0"))
                if not page.entries or page.entries[0][0] != index:
                    raise Unreachable("the entries are not those asked for", where="/v1/entries", mend="try again")
                fetched |= {at: (raw, leaves) for at, raw, leaves in page.entries if at in wanted}
        self._refuse_other_history(fetched)
        for index, (raw, leaves) in sorted(fetched.items()):
            self._restore(index, raw, leaves)
        # A crash before this leaves views to be derived: the same command goes on.
        audit.rebuild(self.copy, self.kinds, self.digest_key)
        return broken

    def _refuse_other_history(self, fetched: Mapping[int, tuple[bytes, object]]) -> None:
        """With the notes fetched in place of those held, the tree must be the one whose signed root is held here."""
        head = self.copy.checkpoint()[1]
        tiles: dict[tuple[int, int], bytes] = {}
        for entry in entries(self.copy):
            raw = fetched[entry.index][0] if entry.index in fetched else entry.note
            if entry.index < head.size:
                tiles.update(merkle.grow(entry.index, [merkle.leaf_hash(raw)], lambda level, n: tiles.get((level, n), b"")))
        if merkle.root(lambda level, n: tiles.get((level, n), b""), head.size) != head.root:
            raise Tampered(
                "what the hub serves for the damaged entries is not what its signed checkpoint covers",
                mend="keep this copy and compare with other partners: history was rewritten",
            )

    def _restore(self, index: int, raw: bytes, leaves: Sequence[Leaf | Withheld] | None) -> None:
        """Put one entry back as it was served, with the leaves that may be seen."""
        step, store = self.copy.check(Submission(raw, leaves)), self.copy_store
        before = store.entry(index)
        assert before is not None
        count = step.entry.count if isinstance(step.entry, batch.Batch) else 0
        with store.transaction():
            if before.first is not None:
                store.drop_leaves(before.first, before.count)
            first = store.append_leaves(leaves, step.hashes) if leaves is not None else None
            head = self.copy.head.read() or before.checkpoint
            store.replace_entry(
                Entry(index, step.text_hash, step.entry.origin, step.entry.seq, raw, count, first, head)
            )

    def beyond(self) -> list[dict[str, Any]]:
        """What this copy holds and the framework on the ledger no longer gives it: origin, kind, groups, how many records.

        What an ended agreement lets it keep is not among it.
        """
        texts = texts_on_ledger(self.copy_store, self.kinds[FRAMEWORK_KIND])
        if not texts:  # Nothing that came with the copy says yet what it may hold.
            return []
        framework = from_texts(texts)
        on, kept = self._now().date(), self._kept()
        found: dict[tuple[str, str], tuple[set[str], int]] = {}
        for entry in entries(self.copy):
            if entry.origin in (self.origin, HUB) or entry.first is None:
                continue
            for held in self.copy_store.leaves(entry.first, entry.count):
                if held.raw is None:
                    continue
                parsed = record.parse(held.raw)
                between = (self.origin,) if parsed.op == "retract" else correspondents(parsed.open)
                decision = framework.decide(parsed.kind, entry.origin, self.origin, on, None, between)
                allowed = set(decision.groups) | set(kept.get(f"{entry.origin} {parsed.kind}", ()))
                extra = set(held.disclosures) - allowed
                if not decision.shared and "open" not in allowed:
                    extra.add("open")
                if extra:
                    groups, count = found.get((entry.origin, parsed.kind), (set(), 0))
                    found[entry.origin, parsed.kind] = groups | extra, count + 1
        return [
            {"origin": origin, "kind": name, "groups": sorted(groups), "records": count}
            for (origin, name), (groups, count) in sorted(found.items())
        ]

    def give_back(self) -> list[dict[str, Any]]:
        """Erase what the copy holds beyond its entitlement; gives what it was."""
        found = self.beyond()
        for each in found:
            self._erase(each["origin"], each["kind"], set(each["groups"]))
        return found

    # --- evidence ---

    def evidence(self, kind: str, origin: str, id: str) -> bytes:
        """The evidence bundle of a record, as the hub shows it to this city."""
        reply = self._client.get(f"/v1/records/{kind}/{origin}/{id}/proof")
        if reply.status != 200:
            raise _refused(reply)
        return reply.body

    def attach(self, kind: str, id: str, content: bytes) -> dict[str, Any]:
        """Bring the hub what an attachment of this city's record holds; gives its digest and size. Safe to repeat."""
        reply = self._client.post(f"/v1/records/{kind}/{self.origin}/{id}/attachments", content, FILE_TYPE)
        if reply.status not in (200, 201):
            raise _refused(reply)
        found: dict[str, Any] = msgspec.json.decode(reply.body)
        return found

    def attachment(self, kind: str, origin: str, id: str, digest: str) -> bytes | None:
        """What an attachment holds, by its SHA-256; None where the hub has it not, or not for this city.

        Unreachable where the hub sends something else: what is named by a digest is believed by it alone.
        """
        reply = self._client.get(f"/v1/records/{kind}/{origin}/{id}/attachments/{digest}")
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise _refused(reply)
        if sha256(reply.body).hexdigest() != digest:
            raise Unreachable("a file that is not the one asked for", where=digest[:12], mend="ask the hub's operator")
        return reply.body

    def trust_file(self) -> TrustFile:
        """What this node believes: the card's ledger key, the witnesses, and the first keys it pinned."""
        pins = {origin: Pin(*found) for origin, found in self._pins.items()}
        framework = from_texts(texts_on_ledger(self.copy_store, self.kinds[FRAMEWORK_KIND]))
        return TrustFile(self.hub, self._ledger_key, framework.witnessing or Policy((), 0), pins)

    def note_audit(self) -> bool:
        """Sign what this node's last pull found, once a day, as this city's own record; False where the hub signs for it.

        It goes out with the next push. A finding that is the same as the day's before is not signed again.
        """
        kind = self.kinds.get(AUDIT)
        if kind is None or self._trust(self.origin) is None or self._pins[self.origin][1] != "self":
            return False
        today = self._now().date().isoformat()
        found = self.damaged()
        size = self.copy_store.size()
        body = {
            "audited_on": today,
            "entries": size,
            "tree_root": merkle.root(self.copy_store.tile, size).hex(),
            "verdict": "damaged" if found else "sound",
            "cosigned": self._seen().size,
            "node": self.origin,
        }
        kind.accept(body)
        issuer = self.issuer(self.origin)
        draft = issuer.draft(kind, f'["{today}"]', body)
        known = self.own_store.known(self.origin, AUDIT, [draft.id]).get(draft.id)
        held = next(self.own_store.leaves(known.number, 1)) if known else None
        if held is not None and held.raw is not None and record.parse(held.raw).open["verdict"] == body["verdict"]:
            return False
        return bool(issuer.issue([draft]))

    # --- status and records ---

    def status(self) -> dict[str, Any]:
        """Where this node stands: own entries and how many are pushed, the copy and what it holds."""
        raw = self.copy.head.read()
        seen = ReaderSeal(self._ledger_key).read(raw) if raw else None
        chain = self.own.chain(self.origin)
        return {
            "origin": self.origin,
            "hub": self.hub,
            "own": {"seq": chain.seq, "pushed": int(self.own_store.get(_PUSHED) or "0")},
            "copy": {"size": self.copy_store.size(), "verified_size": seen.size if seen else 0,
                     "root": b64(seen.root) if seen else None},
            "records": [row._asdict() for row in self.copy_store.series() if row.standing or row.retracted],
            "cosigned": self._seen().size,
            "quarantined": self.own_store.quarantined(),
            "beyond": self.beyond(),
        }  # fmt: skip

    def records(self, kind: str) -> Iterator[dict[str, Any]]:
        """Every standing record of a kind as this partner sees it: origin, id, rev, and its open and disclosed fields.

        One from a batch that its origin disowned says `disowned`.
        """
        for row in self.copy_store.series():
            if row.kind != kind:
                continue
            chain = self.copy.chain(row.origin)
            for id, known in self.copy_store.walk(row.origin, kind):
                held = next(self.copy_store.leaves(known.number, 1))
                if known.op == "put" and held.raw is not None:
                    entry = self.copy_store.entry_of(known.number) if chain.voids else None
                    mark = {"disowned": True} if entry and chain.voided(entry.seq) else {}
                    yield {"origin": row.origin, "id": id, "rev": known.rev} | mark | seen_fields(held)


class _FirstSeal(ReaderSeal):
    """A copy begins empty, without any checkpoint of its own: nothing is sealed until the hub's first page."""

    def read(self, raw: bytes) -> Checkpoint:
        return Checkpoint(self.name, 0, merkle.EMPTY) if raw == b"" else super().read(raw)

    def make(self, checkpoint: Checkpoint, read: merkle.Reader) -> bytes:
        return b""


def seen_fields(held: Held) -> dict[str, Any]:
    """The open and disclosed fields of a stored record, masks included."""
    assert held.raw is not None
    parsed = record.parse(held.raw)
    fields = record.reveal(parsed, held.disclosures.values())
    found = dict(parsed.open)
    for group in sorted(fields):
        for name, value in fields[group].items():
            found.setdefault(name, value)
    return found


def _refused(reply: Reply) -> HubError:
    """The hub's refusal as an error; its problems name fields and remedies, never values."""
    try:
        told = msgspec.json.decode(reply.body)
        what, mend, listed = str(told.get("what", "")), str(told.get("mend", "")), told.get("problems", [])
    except (msgspec.DecodeError, AttributeError):
        return Unreachable(f"the hub answered {reply.status}")
    error = RecordError(f"the hub refused ({reply.status}): {what}", mend=mend)
    error.problems = tuple(Problem(p.get("where", ""), p.get("what", ""), p.get("mend", "")) for p in listed)
    return Unreachable(what, mend=mend) if reply.status >= 500 else error
