"""What the hub answers its partners: pushes taken whole or refused whole, pulls cut to what each may see, proofs.

Rule 1. Who pushes is the origin of what is pushed, in its own custody; everything is checked before anything is stored.
Rule 2. Each partner gets every entry; of a record it gets what `framework.decide` says today, and the hash of the rest.
Rule 3. Withheld and unknown give the same answer.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from datetime import date, datetime
from hashlib import sha256
from typing import Any

import msgspec

from hub import batch, merkle, note, record
from hub.audit import BUNDLE
from hub.batch import Batch
from hub.canonical import b64
from hub.errors import KeyRefused, NotFound, Problem, RecordError
from hub.evidence import MOST_FILE, Attachment, File, attachments, told_apart
from hub.framework import HUB, HUB_KINDS, Decision, Framework
from hub.kinds import Kind
from hub.ledger import Ledger, Pin, Submission
from hub.record import Leaf
from hub.store.base import Acked, Attached, Entry, Held, Pull
from hub.witnessing import Witnessing
from hub.workshop import Workshop

PAGE_ENTRIES = 256
PAGE_BYTES = 8 << 20
PAGE_NOTICES = 500
PUSH = "push"


def line(value: Any) -> bytes:
    """One NDJSON line."""
    return msgspec.json.encode(value) + b"\n"


class Desk:
    """The hub's side of the partner protocol; `framework` gives the one in force."""

    def __init__(
        self,
        ledger: Ledger,
        kinds: Mapping[str, Kind],
        framework: Callable[[], Framework],
        workshop: Workshop,
        now: Callable[[], datetime],
    ) -> None:
        self.ledger, self.kinds, self._framework = ledger, kinds, framework
        self.witnessing = Witnessing(ledger, lambda: framework().witnessing, now)
        self._workshop, self._now = workshop, now
        self._taken = [name for name in kinds if name not in HUB_KINDS]

    # --- push ---

    def push(self, owner: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Take a batch or key entry: (201, receipt), or (200, the receipt given before) for the same text."""
        raw, records = batch.unpack(body)
        parsed = note.parse(raw)
        entry = batch.parse(self.ledger.hub, parsed.text)
        if entry.origin != owner:
            raise KeyRefused(f"a key of {owner} cannot push entries of {entry.origin}")
        standing = self.ledger.store.find(batch.text_hash(parsed.text))
        if standing is not None:
            return 200, self._receipt(standing)
        pin = self.ledger.trust(owner)
        if pin is None or pin.custody != "self":
            raise KeyRefused(f"{owner} is in the hub's custody", mend="declare `custody: self` in framework.yaml first")
        if isinstance(entry, batch.KeyEntry) and entry.custody != "self":
            raise KeyRefused("a city that pushes its keys signs for itself", mend="write `custody self` into the key/v1")
        # Before any record is looked at: only what truly continues this origin's chain is worth the work.
        self.ledger.chain(owner).follow(entry, parsed, pin=pin.first_key)
        leaves = self._receive(entry, records)

        def within() -> None:
            # Once more under the lock: an erasure may have ended while the records were looked at.
            self._refuse_erased(owner, leaves or [])
            self._note_push(owner, leaves)

        ((stored, fresh),) = self.ledger.append([Submission(raw, leaves)], within)
        return (201 if fresh else 200), self._receipt(stored)

    def _note_push(self, owner: str, leaves: list[Leaf] | None) -> None:
        """A push counts as that city's run: from it come the last success and the strip of its days."""
        store, at, count = self.ledger.store, self._now().isoformat(timespec="seconds"), len(leaves or ())
        run = Pull(owner, PUSH, at, f"node {owner}", ended=at, state="succeeded", read=count, stored=count)
        store.start_pull(run)

    def _receive(self, entry: batch.Entry, records: list[tuple[bytes, bytes]]) -> list[Leaf] | None:
        if not isinstance(entry, Batch):
            if records:
                raise RecordError("a key/v1 with records", where="body")
            return None
        leaves, problems = self._workshop.receive(records, self._taken)
        if problems:
            raise RecordError("the batch holds records that cannot be accepted; nothing was stored", problems=problems)
        self._refuse_erased(entry.origin, leaves)
        return leaves

    def _refuse_erased(self, origin: str, leaves: list[Leaf]) -> None:
        """A retraction is no such revision: it holds nothing, and a city must be able to take back what it has no more."""
        problems = []
        for kind in self._taken:
            gone = self.ledger.store.erased(origin, kind, (leaf.id for leaf in leaves if leaf.kind == kind))
            # Mostly nothing is, and nothing is looked at.
            for n, leaf in enumerate(leaves) if gone else ():
                if leaf.op == "put" and leaf.kind == kind and leaf.id in gone:
                    mend = "pull: the notice of its erasure takes it out of this node's own store too"
                    problems.append(Problem(f"records.{n}", "was erased and takes no more revisions", mend))
        if problems:
            raise RecordError("the batch holds records that were erased; nothing was stored", problems=problems)

    def _receipt(self, entry: Entry) -> dict[str, Any]:
        return {"index": entry.index, "origin": entry.origin, "seq": entry.seq, "receipt": self.ledger.receipt(entry)}

    # --- pull ---

    def entries(self, owner: str, after: int, notice: int, root: str = "") -> bytes:
        """The lines of every entry from index `after` on, of the notices after `notice`, and of the checkpoint.

        Asking acknowledges: what is before `after` and up to `notice` is taken for held by this partner, `root` (base64)
        for the root of its copy of the first `after` entries.
        """
        checkpoint, published = self.ledger.checkpoint()
        if after > published.size:
            raise RecordError(
                f"there are only {published.size} entries", where="after",
                mend="your copy is longer than this ledger: run `partner verify` and ask the hub's operator",
            )  # fmt: skip
        self._acknowledge(owner, after, notice, root)
        cut = _Cut(self._framework(), self.kinds, owner, self._now().date())
        out: list[bytes] = []
        size, upto = 0, after
        for entry in self.ledger.store.entries(after, min(PAGE_ENTRIES, published.size - after)):
            lines = b"".join(self._entry_lines(entry, cut))
            if out and size + len(lines) > PAGE_BYTES:
                break
            out.append(lines)
            size, upto = size + len(lines), entry.index + 1
        last = notice
        for each in self.ledger.store.notices(owner, notice, PAGE_NOTICES):
            out.append(line({"notice": each.number, "type": each.type} | each.body))
            last = each.number
        proof = merkle.consistency(self.ledger.store.tile, upto, published.size)
        end = {"checkpoint": checkpoint.decode(), "consistency": [b64(x) for x in proof], "next": upto, "notice": last}
        return b"".join([*out, line(end)])

    def _acknowledge(self, owner: str, after: int, notice: int, root: str) -> None:
        store = self.ledger.store
        acked = Acked(owner, after, notice, self._now().isoformat(timespec="seconds"), after, root)
        with store.transaction():
            store.put_acked(acked)

    def _entry_lines(self, entry: Entry, cut: "_Cut") -> Iterator[bytes]:
        shown = entry.first is not None and cut.concerns(entry.origin)
        yield line({"index": entry.index, "leaves": entry.count if shown else 0, "note": entry.note.decode()})
        if shown and entry.first is not None:
            for held in self.ledger.store.leaves(entry.first, entry.count):
                yield cut.lines(held)

    # --- witnesses ---

    def target(self) -> bytes:
        """The checkpoint that witnesses are asked to cosign now."""
        return self.witnessing.target()

    def cosign(self, owner: str, raw: bytes) -> dict[str, Any]:
        """Take a partner's cosignature; gives how far the ledger is witnessed then."""
        return self.witnessing.take(raw, owner)

    # --- framework and evidence ---

    def framework(self, owner: str) -> dict[str, Any]:
        """The agreements as this partner sees them, the kinds as JSON Schema, and every origin's key entries."""
        store = self.ledger.store
        chains = {
            chain.origin: [entry.note.decode() for entry in store.key_entries(chain.origin)] for chain in store.chains()
        }
        view = self._framework().view_for(owner, self._now().date())
        members = self._framework().members
        past = {chain.origin: self.past_pin(chain.origin) for chain in store.chains() if chain.origin not in members}
        gone = {origin: pin for origin, pin in past.items() if pin is not None and origin != HUB}
        view["pins"] = {origin: pin.first_key for origin, pin in gone.items()} | view["pins"]
        return view | {
            "hub": self.ledger.hub,
            "kinds": {name: kind.json_schema() for name, kind in sorted(self.kinds.items())},
            "keys": chains,
            "custody": {origin: pin.custody for origin, pin in gone.items()}
            | {code: member.custody for code, member in sorted(members.items())},
        }

    def past_pin(self, origin: str) -> Pin | None:
        """The first key of an origin as it stands on the ledger, whether or not it is a member still."""
        # From the entries, not from the chain as derived: a rebuild asks while it derives that.
        found = self.ledger.store.key_entries(origin)
        if not found or found[0].seq != 1:
            return None
        newest = batch.parse(self.ledger.hub, note.parse(found[-1].note).text)
        return Pin(found[0].text_hash, newest.custody) if isinstance(newest, batch.KeyEntry) else None

    def evidence(self, owner: str, kind: str, origin: str, id: str) -> dict[str, Any]:
        """The evidence bundle of a record's current revision, cut to what this partner may see."""
        cut = _Cut(self._framework(), self.kinds, owner, self._now().date())
        for _, entry, held in self._current(kind, origin, id):
            decision = cut.decide(held)
            if held.raw is not None and decision.shared:
                return self.bundle(entry, held, decision)
        raise NotFound("no such record, or not for you")

    def _current(self, kind: str, origin: str, id: str) -> Iterator[tuple[str, Entry, Held]]:
        """The current revision of a record, in each version of its kind that holds one, newest first."""
        store = self.ledger.store
        for name in sorted((n for n in self.kinds if kind in (n, n.split("/")[0])), reverse=True):
            known = store.known(origin, name, [id]).get(id)
            entry = store.entry_of(known.number) if known else None
            if known is not None and entry is not None and entry.first is not None:
                yield name, entry, next(store.leaves(known.number, 1))

    # --- files that records name ---

    def attach(self, owner: str, kind: str, origin: str, id: str, content: bytes) -> tuple[int, dict[str, Any]]:
        """Keep what an attachment of the caller's own record holds: 201, or 200 where it was there; RecordError where the
        current revision does not name it.
        """
        if owner != origin:
            raise KeyRefused(f"a key of {owner} cannot bring files of {origin}")
        if len(content) > MOST_FILE:
            raise RecordError(f"larger than {MOST_FILE >> 20} MiB", where="body")
        file = File("body", sha256(content).hexdigest(), len(content))
        # An erasure comes before all of this or after it, never between.
        with self.ledger.store.transaction():
            for name, _, held in self._current(kind, origin, id):
                named = list(_attachments(held, held.disclosures))
                told_apart([each for _, each in named], [file])
                group = next(group for group, each in named if each.sha256 == file.sha256)
                fresh = self.ledger.store.put_attachment(Attached(origin, name, id, file.sha256, group), content)
                return (201 if fresh else 200), {"sha256": file.sha256, "size": file.size}
        raise NotFound("no such record", mend="push the record first")

    def attachment(self, owner: str, kind: str, origin: str, id: str, digest: str) -> bytes:
        """What an attachment holds, where a group that this partner may see names it; NotFound otherwise."""
        cut = _Cut(self._framework(), self.kinds, owner, self._now().date())
        for name, _, held in self._current(kind, origin, id):
            decision = cut.decide(held)
            if decision.shared and any(each.sha256 == digest for _, each in _attachments(held, decision.groups)):
                content = self.ledger.store.attachment(origin, name, id, digest)
                if content is not None:
                    return content
        raise NotFound("no such attachment, or not for you")

    def export(self, kind: str, origin: str, id: str, groups: frozenset[str]) -> dict[str, Any]:
        """The evidence bundle of a record's current revision with these groups, for the operator to hand out."""
        store = self.ledger.store
        for name in sorted((n for n in self.kinds if kind in (n, n.split("/")[0])), reverse=True):
            unknown = groups - set(self.kinds[name].groups)
            known = store.known(origin, name, [id]).get(id)
            entry = store.entry_of(known.number) if known else None
            if known is None or entry is None:
                continue
            if unknown:
                raise RecordError(f"{name} has no group {', '.join(sorted(unknown))}", where="--groups",
                                  mend=f"its groups: {', '.join(self.kinds[name].groups)}")  # fmt: skip
            return self.bundle(entry, next(store.leaves(known.number, 1)), Decision(True, groups, ()))
        raise NotFound("no such record", where=f"{kind} {origin} {id}",
                       mend="give the id of a standing record, or --key with the city's own number")  # fmt: skip

    def bundle(self, entry: Entry, held: Held, decision: Decision) -> dict[str, Any]:
        """The evidence bundle of a stored revision with what a decision gives."""
        store = self.ledger.store
        assert held.raw is not None and entry.first is not None
        hashes = [x.hash or merkle.leaf_hash(x.raw or b"") for x in store.leaves(entry.first, entry.count)]
        index = held.number - entry.first
        # Whose hands signed: as the key entry says that was in force for this batch, not the one in force now.
        signed = batch.parse(self.ledger.hub, note.parse(entry.note).text)
        in_force = store.find(signed.keys) if isinstance(signed, Batch) else None
        key_entry = batch.parse(self.ledger.hub, note.parse(in_force.note).text) if in_force else None
        custody = key_entry.custody if isinstance(key_entry, batch.KeyEntry) else ""
        return {
            "bundle": f"{self.ledger.hub}/{BUNDLE}",
            "record": held.raw.decode(),
            "disclosures": [text for group, text in sorted(held.disclosures.items()) if group in decision.groups],
            "path": {"index": index, "count": entry.count, "hashes": [b64(x) for x in merkle.path_of(index, hashes)]},
            "note": entry.note.decode(),
            "keys": [each.note.decode() for each in store.key_entries(entry.origin)],
            "proof": self.ledger.proof(entry.index, *self.witnessing.best(entry.index)),
            "clauses": list(decision.clauses),
            "custody": custody,
        }


def _attachments(held: Held, groups: Container[str]) -> Iterator[tuple[str, Attachment]]:
    """The files that these groups of a stored record name, each with its group."""
    if held.raw is not None:
        shown = [text for group, text in held.disclosures.items() if group in groups]
        fields = record.reveal(record.parse(held.raw), shown)
        for group in sorted(fields):
            for each in attachments(fields[group]):
                yield group, each


class _Cut:
    """Cuts stored leaves to what one partner may see on one day."""

    def __init__(self, framework: Framework, kinds: Mapping[str, Kind], owner: str, on: date) -> None:
        self._framework, self._kinds, self._owner, self._on = framework, kinds, owner, on
        self._concerns: dict[str, bool] = {}

    def concerns(self, origin: str) -> bool:
        """Whether any kind of this origin's records may reach the partner, so that its batches' leaves follow."""
        if origin not in self._concerns:
            self._concerns[origin] = origin in (self._owner, HUB) or any(
                self._framework.decide(kind, origin, self._owner, self._on, between=(self._owner,)).shared
                for kind in self._kinds
            )
        return self._concerns[origin]

    def decide(self, held: Held) -> Decision:
        """What the partner gets of a stored leaf."""
        if held.raw is None:
            return Decision(False, frozenset(), ())
        return self._framework.decide_on(record.peek(held.raw), self._owner, self._on)

    def lines(self, held: Held) -> bytes:
        """The lines of a leaf: its record with the groups shared, or its hash."""
        decision = self.decide(held)
        if held.raw is None or not decision.shared:
            return line(b64(held.hash or merkle.leaf_hash(held.raw or b"")))
        shared = [text for group, text in held.disclosures.items() if group in decision.groups]
        return batch.record_lines(held.raw, shared)
