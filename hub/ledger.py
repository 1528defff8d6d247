"""The one way onto a ledger: check, append, seal, publish; and what is served of it.

Rule 1. One append is one transaction under the head lock: entry, leaves, views, tiles, sealed checkpoint; then the head
file is swapped; only then is anything acknowledged. Readers are served what the head file's checkpoint covers.
Rule 2. A store behind its head file, or with another root at the head's size, is never sealed again.
Rule 3. Hub, city node, partner copy and rebuild differ only in their seal: who may say what the next checkpoint is.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from hub import batch, merkle, note
from hub.batch import Batch, Chain, KeyEntry
from hub.canonical import b64
from hub.errors import HubError, KeyRefused, RecordError, Tampered
from hub.note import Checkpoint, Signer, VKey
from hub.record import Leaf, Withheld
from hub.store.base import Entry, Known, Store

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
GROUP = 256
HALTED = "halted"
DIGESTS = "digests"


class Pin(NamedTuple):
    """What the framework says of an origin: the hash of its first key/v1 text, and its custody."""

    first_key: str | None
    custody: str


Trust = Callable[[str], Pin | None]
Signs = Callable[[Chain], bool]


class Seal(Protocol):
    """Says what a checkpoint of this ledger is, and reads one back."""

    @property
    def name(self) -> str: ...
    def make(self, checkpoint: Checkpoint, read: merkle.Reader) -> bytes: ...
    def read(self, raw: bytes) -> Checkpoint: ...


class LedgerSeal:
    """The hub's: signs each checkpoint with the ledger key."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.name = signer.vkey.name
        self._last: tuple[bytes, Checkpoint] | None = None

    def make(self, checkpoint: Checkpoint, read: merkle.Reader) -> bytes:
        return note.sign(checkpoint.text(), [self._signer])

    def read(self, raw: bytes) -> Checkpoint:
        # The newest is asked for by every request, and by an append three times.
        last = self._last
        if last is None or last[0] != raw:
            last = self._last = (raw, note.open_checkpoint(raw, self._signer.vkey))
        return last[1]


class ReaderSeal:
    """For reading a ledger whose key is elsewhere: verifies, never makes."""

    def __init__(self, key: VKey) -> None:
        self._key = key
        self.name = key.name

    def make(self, checkpoint: Checkpoint, read: merkle.Reader) -> bytes:
        raise KeyRefused("this folder holds no ledger key", mend="only the hub appends to its ledger")

    def read(self, raw: bytes) -> Checkpoint:
        return note.open_checkpoint(raw, self._key)


class PlainSeal:
    """A city node's own entries before they are pushed: numbered and hashed, vouched for by nobody else."""

    def __init__(self, name: str) -> None:
        self.name = name

    def make(self, checkpoint: Checkpoint, read: merkle.Reader) -> bytes:
        return checkpoint.text()

    def read(self, raw: bytes) -> Checkpoint:
        return note.parse_checkpoint(raw, self.name)


def proven(mine: Checkpoint, published: Checkpoint, proof: Sequence[bytes]) -> None:
    """Raise Tampered unless the published checkpoint is shown to continue the tree held here."""
    if published.size < mine.size:
        raise Tampered(
            f"the ledger has shrunk: {published.size} entries are published, this copy holds {mine.size}",
            mend="keep this copy and compare with other partners: history was cut",
        )
    if not merkle.check_consistency(mine.size, mine.root, published.size, published.root, proof):
        raise Tampered(
            f"the ledger of {published.size} entries does not continue the {mine.size} held here: it was forked",
            mend="keep this copy and compare with other partners: history was rewritten",
        )


class HeadFile:
    """The published checkpoint, kept apart from the data and replaced by compare-and-swap only."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One appender at a time, across processes."""
        handle = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def swap(self, old: bytes | None, new: bytes) -> None:
        """Replace `old` by `new` durably; Tampered where something else is there. Call under the lock."""
        if self.read() != old:
            raise Tampered("the head file changed under its lock", where=str(self.path), mend="stop the other hub")
        fresh = self.path.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(new)
            file.flush()
            os.fsync(file.fileno())
        # A crash before the rename leaves the old head: the next start verifies the store's last entry and advances.
        os.replace(fresh, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Submission(NamedTuple):
    """An entry to append: its note, and the leaves of a batch (None where they are not held here)."""

    raw: bytes
    leaves: Sequence[Leaf | Withheld] | None


class Step(NamedTuple):
    """An entry that was checked against its origin's chain, ready to be applied."""

    entry: batch.Entry
    raw: bytes
    text_hash: str
    leaves: Sequence[Leaf | Withheld] | None
    hashes: Sequence[bytes]


class Ledger:
    """A ledger in a store, under a head file and a seal."""

    def __init__(
        self, store: Store, head: HeadFile, seal: Seal, hub: str, trust: Trust, *, signs: Signs, whole: bool = True
    ) -> None:
        """`hub` is the name in every entry's first line; `whole` says that every leaf is held (false for a partner's copy).

        `signs` tells whether the records of a chain are signed here: of those alone content digests are kept.
        """
        self.store, self.head, self.seal, self.hub, self.trust, self.whole = store, head, seal, hub, trust, whole
        self.signs = signs
        self._settled: tuple[int, bytes] | None = None
        self.guard: Callable[[], None] | None = None

    # --- start ---

    def open(self) -> Checkpoint:
        """Compare store and head file; publish the empty checkpoint of a new ledger, advance a head left behind by a crash.

        Raises Tampered where the store is behind its head or holds another tree: a restored backup or a second hub.
        """
        with self.head.lock():
            head = self._settle()
            self._forget_digests()
            return head

    def key_for(self, origin: str, digest_key: bytes) -> bytes | None:
        """The key where this origin's records have content digests here, None where they are signed elsewhere."""
        return digest_key if self.signs(self.chain(origin)) else None

    def _forget_digests(self) -> None:
        """Once: a store made when each record had a content digest loses those of what is signed elsewhere."""
        if not self.store.get(DIGESTS):
            with self.store.transaction():
                for chain in self.store.chains():
                    if not self.signs(chain):
                        self.store.forget_digests(chain.origin)
                self.store.put(DIGESTS, "of what is signed here")

    def _settle(self) -> Checkpoint:
        raw, size = self.head.read(), self.store.size()
        if raw is None:
            if size:
                raise Tampered(
                    "the head file is missing while the store holds entries",
                    where=str(self.head.path),
                    mend="restore the head file; without it nobody can tell whether this store is the newest",
                )
            raw = self.seal.make(Checkpoint(self.seal.name, 0, merkle.EMPTY), self.store.tile)
            self.head.swap(None, raw)
        head = self.seal.read(raw)
        self._refuse_other_tree(head, size)
        if size > head.size:
            raw, head = self._advance(raw, head, size)
        self._settled = (size, raw)
        return head

    def _refuse_other_tree(self, head: Checkpoint, size: int) -> None:
        if head.size > size:
            raise Tampered(
                f"the store holds {size} entries and {head.size} were published: an older copy was restored",
                where=str(self.head.path),
                mend="restore the newest store; a hub that went on from here would rewrite history. If it is lost for good, "
                "begin a new ledger under another name in hub.yaml and let every member know",
            )
        if merkle.root(self.store.tile, head.size) != head.root:
            raise Tampered(
                f"the store's tree of {head.size} entries is not the published one",
                where=str(self.head.path),
                mend="run `python3 run.py fsck` to find the damage, or stop the second hub on this ledger",
            )

    def _advance(self, raw: bytes, head: Checkpoint, size: int) -> tuple[bytes, Checkpoint]:
        """A crash between commit and swap left entries that nobody was told of: verify them and publish."""
        for entry in self.store.entries(head.size, size - head.size):
            level_0 = self.store.tile(0, entry.index // GROUP)
            at = entry.index % GROUP * merkle.HASH
            if merkle.leaf_hash(entry.note) != level_0[at : at + merkle.HASH]:
                raise Tampered(f"entry {entry.index} is not what was hashed", where="store", mend="run fsck")
        last = self.store.entry(size - 1)
        assert last is not None
        found = self.seal.read(last.checkpoint)
        if found.size < size and self.whole:
            raise Tampered("the last entry carries no checkpoint of its size", where="store", mend="run fsck")
        if found.size == size:
            self._refuse_other_tree(found, size)
            self.head.swap(raw, last.checkpoint)
            return last.checkpoint, found
        return raw, head

    # --- append ---

    def append(
        self,
        submissions: Sequence[Submission],
        within: Callable[[], None] | None = None,
        *,
        seal: Seal | None = None,
    ) -> list[tuple[Entry, bool]]:
        """Append entries in order; gives each as stored, and whether it is new. `within` joins the same transaction.

        The same text again gives the entry that stands. ChainError, KeyRefused and RecordError refuse the whole call.
        `seal` replaces the ledger's own for this call (a partner's copy takes the hub's checkpoint).
        """
        seal = seal or self.seal
        self._refuse_halted()
        # Before the lock, because all that can be told of a submission alone is told of it while others append.
        steps = [self.check(each) for each in submissions]
        with self.head.lock():
            if self._settled != (self.store.size(), self.head.read()):
                self._settle()
            old = self.head.read()
            with self.store.transaction():
                size = self.store.size()
                results, raw = self._append(steps, size, seal)
                if within is not None:
                    within()
            # A crash here leaves the store ahead of its head: the next start verifies the entries and advances.
            if raw is not None:
                size = self.store.size()
                # A partner's copy between two pages is shorter than its checkpoint: the head stays until it is not.
                if size == seal.read(raw).size:
                    self.head.swap(old, raw)
                    old = raw
                self._settled = (size, old) if old is not None else None
        return results

    def _refuse_halted(self) -> None:
        """Before anything is signed: what outsiders know of this ledger (asked once), and what they proved against it."""
        if self.guard is not None:
            guard, self.guard = self.guard, None
            try:
                guard()
            except Tampered:
                self.guard = guard
                raise
        if why := self.store.get(HALTED):
            raise Tampered(why, where="store", mend="bring back the newest store: the one of a backup, or of the machine that "
                           "published more; a hub that went on from here would rewrite history")  # fmt: skip

    def halt(self, why: str) -> None:
        """Sign nothing from here on, in any process: somebody holds a later or another tree of this ledger."""
        with self.store.transaction():
            self.store.put(HALTED, why)

    def _append(
        self, steps: Sequence[Step], size: int, seal: Seal
    ) -> tuple[list[tuple[Entry, bool]], bytes | None]:
        fresh: list[tuple[Step, int | None]] = []
        results: list[tuple[Entry, bool]] = []
        for step in steps:
            standing = self.store.find(step.text_hash)
            if standing is not None:
                results.append((standing, False))
            else:
                fresh.append((step, self.apply(step)))
        if not fresh:
            return results, None
        hashes = [merkle.leaf_hash(step.raw) for step, _ in fresh]
        self.store.put_tiles(merkle.grow(size, hashes, self.store.tile))
        grown = Checkpoint(seal.name, size + len(fresh), merkle.root(self.store.tile, size + len(fresh)))
        raw = seal.make(grown, self.store.tile)
        for index, (step, first) in enumerate(fresh, size):
            count = step.entry.count if isinstance(step.entry, Batch) else 0
            entry = Entry(index, step.text_hash, step.entry.origin, step.entry.seq, step.raw, count, first, raw)
            self.store.append_entry(entry)
            results.append((entry, True))
        return results, raw

    def check(self, submission: Submission) -> Step:
        """What can be told of a submission before its origin's chain is looked at."""
        parsed = note.parse(submission.raw)
        entry = batch.parse(self.hub, parsed.text)
        hashes: list[bytes] = []
        if isinstance(entry, Batch) and submission.leaves is not None:
            hashes = [x.hash if isinstance(x, Withheld) else merkle.leaf_hash(x.raw) for x in submission.leaves]
            batch.check_leaves(entry, hashes)
            if {leaf.origin for leaf in submission.leaves if not isinstance(leaf, Withheld)} - {entry.origin}:
                raise RecordError("a record of another origin than the batch's", where="batch")
        elif isinstance(entry, Batch) and self.whole:
            raise RecordError("a batch without its records", where="batch")
        elif isinstance(entry, KeyEntry) and submission.leaves:
            raise RecordError("a key/v1 with records", where="entry")
        return Step(entry, submission.raw, batch.text_hash(parsed.text), submission.leaves, hashes)

    def apply(self, step: Step) -> int | None:
        """Follow the origin's chain, store the leaves and bring the views up to date; gives the first leaf's number."""
        self.follow(step)
        if step.leaves is None or isinstance(step.entry, KeyEntry):
            return None
        first = self.store.append_leaves(step.leaves, step.hashes)
        self.index(step.leaves, first)
        return first

    def follow(self, step: Step) -> None:
        """Advance the origin's chain by this entry, or refuse it."""
        origin = step.entry.origin
        pin = self.trust(origin)
        if pin is None:
            raise KeyRefused(f"{origin} is no member", mend="declare the member in framework.yaml")
        chain = self.store.chain(origin)
        if isinstance(step.entry, KeyEntry) and step.entry.custody != pin.custody:
            # A city that signs for itself may have been in the hub's custody before; never the other way round.
            before = pin.custody == "self" and step.entry.custody == "custodial" and chain.custody != "self"
            if not before:
                raise KeyRefused(f"{origin} is declared {pin.custody}, not {step.entry.custody}")
        after = chain.follow(step.entry, note.parse(step.raw), pin=pin.first_key)
        self.store.put_chain(after)
        if self.signs(chain) and not self.signs(after):
            self.store.forget_digests(origin)

    def index(self, leaves: Sequence[Leaf | Withheld], first: int, *, renew: bool = False) -> None:
        """Bring the current view up to date: an origin counts each record's revisions without a gap.

        With `renew` the leaves come after later ones (a reissue): what is newer stands, the same revision is replaced.
        """
        by_kind: dict[tuple[str, str], list[tuple[Leaf, int]]] = {}
        for number, leaf in enumerate(leaves, first):
            if not isinstance(leaf, Withheld):
                by_kind.setdefault((leaf.origin, leaf.kind), []).append((leaf, number))
        for (origin, kind), rows in by_kind.items():
            known = self.store.known(origin, kind, [leaf.id for leaf, _ in rows])
            fresh: dict[str, Known] = {}
            standing = retracted = 0
            for leaf, number in rows:
                before = fresh.get(leaf.id) or known.get(leaf.id)
                if renew and before is not None and before.rev > leaf.rev:
                    continue
                if not renew:
                    self._refuse_gap(leaf, before)
                fresh[leaf.id] = Known(leaf.rev, leaf.op, leaf.digest, number)
                up, down = leaf.op == "put", before is not None and before.op == "put"
                standing += up - down
                retracted += (not up) - (before is not None and before.op == "retract")
            self.store.set_current(origin, kind, fresh.items(), standing, retracted)

    def _refuse_gap(self, leaf: Leaf, before: Known | None) -> None:
        rev, op = (before.rev, before.op) if before else (0, "")
        if leaf.rev != rev + 1 if self.whole else leaf.rev <= rev:
            raise RecordError(f"rev {leaf.rev} where {rev + 1} follows", where=f"{leaf.kind} {leaf.id}",
                              mend="an origin counts each record's revisions without a gap")  # fmt: skip
        if leaf.op == "retract" and op != "put" and self.whole:
            raise RecordError("a retraction of what does not stand", where=f"{leaf.kind} {leaf.id}")

    # --- serve ---

    def checkpoint(self) -> tuple[bytes, Checkpoint]:
        """The published checkpoint, as bytes and parsed."""
        raw = self.head.read()
        if raw is None:
            raise HubError("the ledger is not open yet", where=str(self.head.path), mend="start the hub once")
        return raw, self.seal.read(raw)

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """The first `width` hashes of a tile, or None where the published tree has not so many."""
        held = (self.checkpoint()[1].size >> 8 * level) - index * GROUP
        return self.store.tile(level, index)[: width * merkle.HASH] if 1 <= width <= min(held, GROUP) else None

    def entry_bundle(self, index: int, width: int) -> bytes | None:
        """The first `width` entries of a bundle: each a big-endian uint16 length and the note's bytes."""
        if not 1 <= width <= min(self.checkpoint()[1].size - index * GROUP, GROUP):
            return None
        notes = [entry.note for entry in self.store.entries(index * GROUP, width)]
        return b"".join(len(raw).to_bytes(2, "big") + raw for raw in notes)

    def receipt(self, entry: Entry) -> str:
        """The tlog-proof of an entry under the checkpoint of its append: the same text each time."""
        return self.proof(entry.index, entry.checkpoint, self.seal.read(entry.checkpoint))

    def proof(self, index: int, raw: bytes, sealed: Checkpoint) -> str:
        """The tlog-proof of the entry at `index` under a checkpoint of this ledger (c2sp.org/tlog-proof)."""
        lines = "".join(b64(each) + "\n" for each in merkle.inclusion(self.store.tile, index, sealed.size))
        return f"{PROOF_HEADER}\nindex {index}\n{lines}\n{raw.decode()}"

    def chain(self, origin: str) -> Chain:
        return self.store.chain(origin)


def leaf_hashes(leaves: Iterable[Leaf]) -> list[bytes]:
    """The leaf hashes of records about to be signed."""
    return [merkle.leaf_hash(leaf.raw) for leaf in leaves]
