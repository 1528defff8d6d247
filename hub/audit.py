"""Looks at what is stored or served and says what that proves: fsck, rebuild, verify, and one record's evidence.

Rule 1. An audit trusts nothing it can compute again. Rule 2. It repairs nothing: rebuild derives views anew through the
same steps that an append takes, and what it finds damaged below them is reported, never mended.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from hub import batch, merkle, note, record
from hub.batch import Batch, Chain, KeyEntry
from hub.canonical import b64, unb64
from hub.errors import HubError, KeyRefused, RecordError, Tampered
from hub.kinds import Kind
from hub.ledger import GROUP, Ledger, Submission, Trust
from hub.note import VKey
from hub.record import Leaf, Withheld
from hub.store.base import Entry, Held, Known, Store
from hub.witness import Policy

PAGE = 256
CHUNK = 1024
BUNDLE = "evidence/v1"
_PARTS = {"bundle", "record", "disclosures", "path", "note", "keys", "proof", "clauses", "custody"}
_MORE = {"timestamp"}
_PATH = {"index", "count", "hashes"}


class _Undo(Exception):
    """Leaves the transaction of a trial without keeping anything."""


@dataclass
class Report:
    """What an audit found: `proved` in words, `problems` that need a person, counts for the machine."""

    proved: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    size: int = 0
    root: str = ""
    records: int = 0
    origins: dict[str, int] = field(default_factory=dict)


# --- the store ---


def entries(ledger: Ledger) -> Iterator[Entry]:
    """Every stored entry in order."""
    at = 0
    while page := ledger.store.entries(at, PAGE):
        yield from page
        at += len(page)


def current(store: Store, origin: str, kind: str) -> Iterator[tuple[str, Known, Held]]:
    """The current revision of every record of a series, by id, in the order they rest in."""
    found = {known.number: (id, known) for id, known in store.walk(origin, kind)}
    numbers = array("q", sorted(found))
    at = 0
    while at < len(numbers):
        first = numbers[at]
        for held in store.leaves(first, CHUNK):
            if held.number in found:
                yield *found[held.number], held
        while at < len(numbers) and numbers[at] < first + CHUNK:
            at += 1


def stored(held: Held, kinds: Mapping[str, Kind], digest_key: bytes | None = None) -> Leaf | Withheld:
    """A stored leaf: checked against the digests of what is still disclosed, or its hash alone; with `digest_key` as it is
    indexed where it was signed."""
    if held.raw is None:
        return Withheld(held.hash or b"")
    line = record.line_of(held.disclosures.values())
    return record.receive(kinds, held.raw, line, complete=False, digest_key=digest_key)


def _derive(ledger: Ledger, kinds: Mapping[str, Kind], digest_key: bytes) -> Report:
    """Derive every view from entries and leaves, inside the caller's transaction; raises where one does not hold."""
    report, origins = Report(), Counter[str]()
    ledger.store.clear_views()
    for entry in entries(ledger):
        leaves = None
        if entry.first is not None:
            key = ledger.key_for(entry.origin, digest_key)
            leaves = [stored(held, kinds, key) for held in ledger.store.leaves(entry.first, entry.count)]
        try:
            step = ledger.check(Submission(entry.note, leaves))
            ledger.follow(step)
            if leaves is not None and entry.first is not None:
                ledger.index(leaves, entry.first, renew=not ledger.whole)
        except HubError as error:
            raise Tampered(f"entry {entry.index} of {entry.origin} does not hold: {error}", where="store") from error
        count = step.entry.count if isinstance(step.entry, Batch) else 0
        stands = (entry.text_hash, entry.origin, entry.seq, entry.count)
        if stands != (step.text_hash, step.entry.origin, step.entry.seq, count):
            raise Tampered(f"entry {entry.index} stands under another name than its text has", where="store")
        tiles = merkle.grow(entry.index, [merkle.leaf_hash(entry.note)], ledger.store.tile)
        ledger.store.put_tiles(tiles)
        origins[entry.origin] += 1
        report.records += len(leaves or ())
    report.size, report.origins = ledger.store.size(), dict(sorted(origins.items()))
    report.root = b64(merkle.root(ledger.store.tile, report.size))
    _check_receipts(ledger, report.size)
    return report


def _check_receipts(ledger: Ledger, size: int) -> None:
    """Each entry keeps the checkpoint of its append, which its receipt rests on: it must be one of this tree."""
    for entry in entries(ledger):
        try:
            sealed = ledger.seal.read(entry.checkpoint)
        except HubError as error:
            raise Tampered(
                f"the checkpoint kept with entry {entry.index} does not hold: {error}", where="store"
            ) from error
        if sealed.size <= size and merkle.root(ledger.store.tile, sealed.size) != sealed.root:
            raise Tampered(f"the checkpoint kept with entry {entry.index} is of another tree", where="store")


class Damaged(NamedTuple):
    """An entry of which something stored does not hold."""

    entry: int
    origin: str
    seq: int
    what: str

    def __str__(self) -> str:
        return f"entry {self.entry} ({self.origin} seq {self.seq}): {self.what}"


def damaged(ledger: Ledger, kinds: Mapping[str, Kind]) -> list[Damaged]:
    """Every entry whose note, records, disclosures, receipt or place in the tree do not hold, each by itself."""
    # Tiles that do not lead to the published root tell which hash is wrong, and nothing of other roots.
    head = ledger.checkpoint()[1]
    try:
        whole = head.size <= ledger.store.size() and merkle.root(ledger.store.tile, head.size) == head.root
    except RecordError:
        whole = False
    return [
        Damaged(entry.index, entry.origin, entry.seq, what)
        for entry in entries(ledger)
        if (what := _flaw(ledger, entry, kinds, whole=whole))
    ]


def _flaw(ledger: Ledger, entry: Entry, kinds: Mapping[str, Kind], *, whole: bool) -> str:
    at = entry.index % GROUP * merkle.HASH
    if ledger.store.tile(0, entry.index // GROUP)[at : at + merkle.HASH] != merkle.leaf_hash(entry.note):
        return "its note is not what the tree holds"
    try:
        leaves = None
        if entry.first is not None:
            leaves = [stored(held, kinds) for held in ledger.store.leaves(entry.first, entry.count)]
        step = ledger.check(Submission(entry.note, leaves))
        sealed = ledger.seal.read(entry.checkpoint)
    except HubError as error:
        return str(error).split("\n")[0]
    count = step.entry.count if isinstance(step.entry, Batch) else 0
    if (step.text_hash, step.entry.origin, step.entry.seq, count) != (
        entry.text_hash, entry.origin, entry.seq, entry.count,
    ):  # fmt: skip
        return "it stands under another name than its text has"
    if whole and sealed.size <= ledger.store.size() and merkle.root(ledger.store.tile, sealed.size) != sealed.root:
        return "the checkpoint kept with it is of another tree"
    return ""


def fsck(ledger: Ledger, kinds: Mapping[str, Kind], digest_key: bytes) -> Report:
    """Hash everything stored again and hold it against entries, head file and views; changes nothing."""
    problems = [f"the store's own check: {line}" for line in ledger.store.check()]
    report = Report()
    before = ledger.store.view_digests()
    after = before
    try:
        with ledger.store.transaction():
            report = _derive(ledger, kinds, digest_key)
            after = ledger.store.view_digests()
            raise _Undo
    except _Undo:
        pass
    except HubError as error:
        problems.append(str(error))
    problems += [
        f"the {view} view is not what the entries give; run rebuild" for view in before if before[view] != after[view]
    ]
    if not problems:
        problems += _against_head(ledger, report)
    else:
        problems += map(str, damaged(ledger, kinds))
    files, lost = _files(ledger.store)
    problems += lost
    report.problems, report.unproven = problems, _disowned(ledger.store.chains())
    if not problems:
        report.proved = [
            f"{report.size} entries: every signature, key, seq and prev holds, and the tree has the published root",
            f"{report.records} records hash to the roots their batches sign; every disclosure fits its digest",
            "chains, current records, counts and tiles are what the entries give",
            *([f"{files} files kept with records hash to the digests that name them"] if files else []),
        ]
    return report


def _files(store: Store) -> tuple[int, list[str]]:
    """How many files are kept with records, and what is wrong with any of them."""
    kept_files, problems = list(store.attachments()), []
    for kept in kept_files:
        try:
            held = store.attachment(*kept[:4])
        except KeyRefused:
            held = None
        if held is None or sha256(held).hexdigest() != kept.sha256:
            whose = f"{kept.kind} {kept.origin} {kept.id}"
            problems.append(f"the file {kept.sha256} of {whose} is damaged: hand it in again by `evidence attach`")
    return len(kept_files), problems


def _against_head(ledger: Ledger, report: Report) -> list[str]:
    head = ledger.checkpoint()[1]
    if head.size > report.size:
        return [f"{head.size} entries were published and {report.size} are stored: an older copy was restored"]
    if merkle.root(ledger.store.tile, head.size) != head.root:
        return [f"the stored tree of {head.size} entries is not the published one"]
    return []


def rebuild(ledger: Ledger, kinds: Mapping[str, Kind], digest_key: bytes) -> tuple[Report, list[str]]:
    """Derive every view anew and keep it; gives the names of the views that changed (none on a sound store)."""
    before = ledger.store.view_digests()
    with ledger.store.transaction():
        report = _derive(ledger, kinds, digest_key)
        problems = _against_head(ledger, report)
        if problems:
            raise Tampered("; ".join(problems), where="store")
        after = ledger.store.view_digests()
    return report, [view for view in before if before[view] != after[view]]


# --- a ledger as served ---


class Served(Protocol):
    """A ledger as anybody may read it: checkpoint and entry bundles (C2SP tlog-tiles)."""

    def checkpoint(self) -> bytes: ...
    def bundle(self, index: int, width: int) -> bytes: ...


class Replay:
    """A ledger followed from its first entry: every chain and signature, and the tree under each signed checkpoint."""

    def __init__(self, hub: str, key: VKey, trust: Trust | None) -> None:
        """Without `trust` the first key of each origin is taken as found, and the report says so."""
        self._hub, self._key, self._trust = hub, key, trust
        self._chains: dict[str, Chain] = {}
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._unpinned: set[str] = set()
        self._records = self.size = 0

    def _tile(self, level: int, n: int) -> bytes:
        return self._tiles.get((level, n), b"")

    def root(self, size: int) -> bytes:
        """The root that the first `size` entries give; at most as many as were followed."""
        return merkle.root(self._tile, size)

    def proof(self, old: int, size: int) -> list[bytes]:
        """The consistency proof between two sizes that were followed."""
        return merkle.consistency(self._tile, old, size)

    def advance(self, served: Served, progress: Callable[[int, int], None] | None = None) -> note.Checkpoint:
        """Follow the ledger to the checkpoint served now; Tampered where anything fails, or it has shrunk or forked."""
        raw = served.checkpoint()
        checkpoint = note.open_checkpoint(raw, self._key)
        if checkpoint.size < self.size:
            raise Tampered(f"the ledger has shrunk from {self.size} to {checkpoint.size} entries", where="checkpoint")
        while self.size < checkpoint.size:
            bundle = self.size // GROUP
            width = min(GROUP, checkpoint.size - bundle * GROUP)
            notes = list(_unbundle(served.bundle(bundle, width), width))[self.size - bundle * GROUP :]
            for index, each in enumerate(notes, self.size):
                origin, free, count = _follow(self._hub, each, index, self._chains, self._trust)
                self._unpinned |= {origin} if free else set()
                self._records += count
            self._tiles.update(merkle.grow(self.size, [merkle.leaf_hash(each) for each in notes], self._tile))
            self.size += len(notes)
            if progress:
                progress(self.size, checkpoint.size)
        if self.root(checkpoint.size) != checkpoint.root:
            raise Tampered("the entries do not hash to the signed root", where="checkpoint")
        return checkpoint

    def report(self, checkpoint: note.Checkpoint) -> Report:
        """What was proved by following the ledger to this checkpoint, and what was not."""
        found = Report(size=checkpoint.size, root=b64(checkpoint.root), records=self._records)
        found.origins = {origin: chain.seq for origin, chain in sorted(self._chains.items())}
        found.proved = [
            f"the checkpoint of {checkpoint.size} entries is signed by {self._key.handle}, and the entries hash to its root",
            f"{len(self._chains)} origins: no gap, no rewrite, each entry signed by exactly the keys in force",
            f"{found.records} records are counted by signed batches",
        ]
        found.unproven = [
            "that a record is true",
            "that this is the newest checkpoint: compare with witnesses or other partners",
        ]
        found.unproven += _disowned(self._chains.values())
        if self._unpinned:
            found.unproven.append(f"whose the first keys are (not pinned): {', '.join(sorted(self._unpinned))}")
        return found


def _disowned(chains: Iterable[Chain]) -> list[str]:
    """What origins no longer stand by, in words."""
    return [
        f"what {chain.origin} says in its entries {first} to {last}: it disowned them"
        for chain in sorted(chains, key=lambda each: each.origin)
        for first, last in chain.voids
    ]


def verify(
    served: Served, hub: str, key: VKey, trust: Trust | None, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Replay a ledger from its first entry; Tampered where anything fails."""
    replay = Replay(hub, key, trust)
    return replay.report(replay.advance(served, progress))


def _unbundle(raw: bytes, width: int) -> Iterator[bytes]:
    at = 0
    for _ in range(width):
        size = int.from_bytes(raw[at : at + 2], "big")
        yield raw[at + 2 : at + 2 + size]
        at += 2 + size
    if at != len(raw):
        raise Tampered("an entry bundle is cut short or too long", where="ledger")


def _follow(
    hub: str, raw: bytes, index: int, chains: dict[str, Chain], trust: Trust | None
) -> tuple[str, bool, int]:
    """Advance the chain of an entry's origin; gives the origin, whether its first key was taken as found, and the records."""
    try:
        parsed = note.parse(raw)
        entry = batch.parse(hub, parsed.text)
        pin = trust(entry.origin) if trust else None
        first = pin.first_key if pin else None
        free = first is None and entry.origin not in chains
        chain = chains.get(entry.origin, Chain(entry.origin))
        chains[entry.origin] = chain.follow(entry, parsed, pin=batch.text_hash(parsed.text) if free else first)
    except HubError as error:
        raise Tampered(f"entry {index} does not hold: {error}", where="ledger") from error
    return entry.origin, free, entry.count if isinstance(entry, Batch) else 0


# --- one record's evidence ---


def check_evidence(
    bundle: Mapping[str, Any], hub: str, key: VKey, trust: Trust, policy: Policy | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Check an evidence bundle offline: checkpoint → quorum → inclusion → keys → signatures → path → record → disclosures.

    Gives the fields it shows and the steps that held; raises at the first that does not. With a `policy` its quorum of
    witnesses must have cosigned the checkpoint. A timestamp is left to who knows the authorities.
    """
    try:
        raw_note, raw = bundle["note"].encode(), bundle["record"].encode()
        proof, path = bundle["proof"].encode(), bundle["path"]
        keys, disclosures = [each.encode() for each in bundle["keys"]], bundle["disclosures"]
        index, count, hashes = int(path["index"]), int(path["count"]), list(path["hashes"])
        texts = isinstance(disclosures, list) and all(isinstance(each, str) for each in [*disclosures, *hashes])
        if bundle["bundle"] != f"{hub}/{BUNDLE}" or not texts or bundle.keys() - _MORE != _PARTS or path.keys() != _PATH:
            raise TypeError
        custody = bundle["custody"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError("not an evidence bundle", where="bundle") from error
    at, checkpoint = check_proof(proof, merkle.leaf_hash(raw_note), key)
    steps = [f"checkpoint of {checkpoint.size} entries signed by {key.handle}"]
    if policy is not None and policy.quorum:
        by = policy.signed_by(note.parse(proof.partition(b"\n\n")[2]))
        if len(by) < policy.quorum:
            raise KeyRefused(
                f"{len(by)} of the {policy.quorum} witnesses that the policy asks for cosigned the checkpoint",
                where="quorum", mend="export the evidence again once the ledger is witnessed",
            )  # fmt: skip
        steps.append(f"cosigned by {', '.join(sorted(by))} ({policy.quorum} of {len(policy.witnesses)} asked for)")
    parsed_note = note.parse(raw_note)
    entry = batch.parse(hub, parsed_note.text)
    parsed = record.parse(raw)
    if not isinstance(entry, Batch) or entry.count != count or entry.origin != parsed.origin:
        raise RecordError("the note is not the batch of this record", where="note")
    key_entry = _key_entry_in_force(hub, entry, keys, trust)
    if custody != key_entry.custody:
        raise RecordError("the custody is not that of the key entry", where="custody")
    note.verify_exactly(parsed_note, key_entry.keys)
    siblings = [unb64(each, 32, "path") for each in hashes]
    if b64(merkle.root_from_path(merkle.leaf_hash(raw), index, count, siblings)) != entry.root:
        raise RecordError("the record does not hash to the batch's root", where="path")
    fields = record.reveal(parsed, disclosures)
    shown = dict(parsed.open)
    for group in sorted(fields):
        shown |= {name: value for name, value in fields[group].items() if name not in shown}
    return shown, [
        *steps,
        f"batch {entry.seq} of {entry.origin} is entry {at} of that ledger",
        f"the batch is signed by exactly the keys its key entries name ({custody}), back to the pinned first one",
        f"the record is number {index + 1} of {count} in that batch",
        f"{len(fields)} groups disclosed, each with the digest the record holds",
    ]


def _key_entry_in_force(hub: str, entry: Batch, keys: Sequence[bytes], trust: Trust) -> KeyEntry:
    """The key entry a batch names, following the key entries' `next` from the pinned first one; all of them must hold."""
    pin = trust(entry.origin)
    expected = found = None
    disowned = ""
    for raw in keys:
        parsed = note.parse(raw)
        each = batch.parse(hub, parsed.text)
        if isinstance(each, Batch) or each.origin != entry.origin:
            raise RecordError("not a key entry of this origin", where="keys")
        if expected is None:
            if pin is None or pin.first_key != batch.text_hash(parsed.text):
                raise KeyRefused(
                    f"the first key of {entry.origin} is not the pinned one", mend="check the pins you hold"
                )
        elif batch.keys_hash(each.keys) != expected:
            raise KeyRefused("a key entry was not announced by the one before", where="keys")
        note.verify_exactly(parsed, each.keys)
        if 0 < each.void_from <= entry.seq < each.seq:
            disowned = f"{entry.origin} disowned its batches {each.void_from} to {each.seq - 1}: others had its keys"
        found = each if batch.text_hash(parsed.text) == entry.keys else found
        expected = each.next
    if found is None:
        raise KeyRefused("the key entry that the batch names is missing", where="keys")
    if disowned:
        raise KeyRefused(disowned, where=f"batch {entry.seq}", mend="ask for the record's revision after that")
    return found


def check_proof(text: bytes, leaf: bytes, key: VKey) -> tuple[int, note.Checkpoint]:
    """Check a tlog-proof of a leaf; gives its index and the checkpoint it leads to. RecordError or KeyRefused otherwise."""
    head, cut, checkpoint = text.partition(b"\n\n")
    lines = head.decode("ascii", "replace").split("\n")
    if not cut or len(lines) < 2 or lines[0] != "c2sp.org/tlog-proof@v1" or not lines[1].startswith("index "):
        raise RecordError("not a tlog-proof", where="proof")
    index = note.number(lines[1][6:], "proof index")
    sealed = note.open_checkpoint(checkpoint, key)
    path = [unb64(each, 32, "proof") for each in lines[2:]]
    if merkle.root_from_path(leaf, index, sealed.size, path) != sealed.root:
        raise RecordError("the path does not lead to the checkpoint's root", where="proof")
    return index, sealed
