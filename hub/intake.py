"""One city's run, on the hub or on the city's own node: source row → body → draft → sealed, signed, appended.

Rule 1. A row that cannot be mapped, or that its kind refuses, is quarantined; the others go on.
Rule 2. What did not change by content digest is not signed again.
Rule 3. Absence means retraction only after a whole read of a snapshot (a window: within its bounds), never when `expect:`
fails, a key was unreadable or the read broke off; the cursor moves only once everything read is stored.
Memory stays flat: rows are handled in batches and the keys met are kept in the store's scan.
"""

import hmac
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

import msgspec

from adapters.base import Look, Mapped, Page, Refuse, Retry, Row
from adapters.declaration import Declaration, Feed
from adapters.mapping import ORDINAL, Mapper
from hub import batch, record
from hub.batch import Chain
from hub.errors import Fenced, ForkError, HubError, KeyRefused, KindError
from hub.kinds import Kind
from hub.ledger import Ledger, Submission, leaf_hashes
from hub.note import Signer
from hub.record import Leaf, Plain
from hub.store.base import Known, Pull, Quarantined, Scan, Version
from hub.workshop import Glimpse, Made, Seen, Workshop, salts, unseen

BATCH_RECORDS = 2_000
BATCH_BYTES = 7 << 20
MOST_QUARANTINED = 5_000
SMALL = 10
NAMED = 1_000
AHEAD = 3
SIFT_FROM = 1_000
TWICE = "the same key stands twice with different content"

T = TypeVar("T")
Clock = Callable[[], datetime]
Progress = Callable[[str, str, int], None]


def stamp(moment: datetime) -> str:
    """A time as records and notes write it."""
    return moment.isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Draft:
    """A revision to sign: a body ready to be sealed, or a retraction with its reason."""

    kind: Kind
    id: str
    content: Plain | None
    reason: str = ""

    @property
    def digest(self) -> bytes | None:
        return self.content.digest if self.content else None


class Standing(NamedTuple):
    """Where an origin's chain stands, and the current revisions of some of its records, by kind and id."""

    chain: Chain
    known: dict[tuple[str, str], Known]


class Issuer:
    """Signs one origin's records and puts them on a ledger."""

    def __init__(
        self, ledger: Ledger, origin: str, signers: Callable[[], Sequence[Signer]], id_key: bytes, digest_key: bytes,
        now: Clock,
    ) -> None:  # fmt: skip
        """`signers` reads the keys: again where the chain says that others are in force."""
        self.ledger, self.origin, self.id_key = ledger, origin, id_key
        self._read, self._signers, self._digest_key, self._now = signers, signers(), digest_key, now

    def draft(self, kind: Kind, source_key: str, body: dict[str, Any]) -> Draft:
        """The draft of a body that its kind accepted."""
        return Draft(kind, self.id_of(kind.name, source_key), record.plain(self._digest_key, kind, body))

    def id_of(self, kind: str, source_key: str) -> str:
        return record.record_id(self.id_key, kind, source_key)

    def standing(self, drafts: Sequence[Draft]) -> Standing:
        """What stands of the drafts' records."""
        # The chain before the revisions: whoever comes between has moved the chain on, and shows as a fork.
        chain, found = self.ledger.chain(self.origin), {}
        for kind in {draft.kind.name for draft in drafts}:
            ids = [draft.id for draft in drafts if draft.kind.name == kind]
            for id, known in self.ledger.store.known(self.origin, kind, ids).items():
                found[kind, id] = known
        return Standing(chain, found)

    def issue(
        self, drafts: Sequence[Draft], within: Callable[[], None] | None = None, standing: Standing | None = None
    ) -> list[Leaf]:
        """Sign and append what changed, one batch after another; gives the leaves that were new.

        `within` joins the last batch's transaction, or runs in one of its own where nothing changed. A place in the chain
        lost to another process is taken anew, as is what `standing` said of the records.
        """
        issued: list[Leaf] = []
        while True:
            stands = standing or self.standing(drafts)
            try:
                self._append(stands.chain, self._seal(drafts, stands.known), within, issued)
            except ForkError:
                standing = None
                continue
            return issued

    def _seal(self, drafts: Sequence[Draft], standing: Mapping[tuple[str, str], Known]) -> list[Leaf]:
        # Salts of its own for each call: threads may share an issuer.
        known, at, salt = dict(standing), stamp(self._now()), salts()
        leaves: list[Leaf] = []
        for draft in drafts:
            before = known.get((draft.kind.name, draft.id))
            op = "put" if draft.content else "retract"
            if before and before.op == op and before.digest == draft.digest:
                continue
            if draft.content is None and (before is None or before.op == "retract"):
                continue
            rev = before.rev + 1 if before else 1
            leaves.append(self._leaf(draft, rev, at, salt))
            known[draft.kind.name, draft.id] = Known(rev, leaves[-1].op, draft.digest, 0)
        return leaves

    def _leaf(self, draft: Draft, rev: int, at: str, salt: Callable[[], str]) -> Leaf:
        place = {"origin": self.origin, "id": draft.id, "rev": rev, "at": at, "salt": salt}
        if draft.content is None:
            return record.retract(draft.kind, reason=draft.reason, **place)  # type: ignore[arg-type]
        return record.seal(draft.kind, draft.content, **place)  # type: ignore[arg-type]

    def _append(
        self, chain: Chain, leaves: Sequence[Leaf], within: Callable[[], None] | None, issued: list[Leaf]
    ) -> None:
        if leaves and not chain.keys:
            raise KeyRefused(
                f"{self.origin} has no key/v1 on the ledger", mend="start the hub once, or push the key/v1"
            )
        if leaves and tuple(each.vkey for each in self._signers) != chain.keys:
            self._signers = self._read()
        parts = list(_portions(leaves))
        for n, part in enumerate(parts, 1):
            raw = batch.make(self.ledger.hub, chain, leaf_hashes(part), self._signers, stamp(self._now()))

            def settled(part: list[Leaf] = part, last: bool = n == len(parts)) -> None:
                self._refuse_erased(part)
                if last and within is not None:
                    within()

            [(entry, _)] = self.ledger.append([Submission(raw, part)], settled)
            issued += part
            chain = replace(chain, seq=entry.seq, prev=entry.text_hash)
        if not parts and within is not None:
            with self.ledger.store.transaction():
                within()

    def _refuse_erased(self, leaves: Sequence[Leaf]) -> None:
        """Inside the append's transaction: nothing brings back what was erased since somebody looked.

        A retraction brings nothing back.
        """
        for kind in {leaf.kind for leaf in leaves}:
            ids = [leaf.id for leaf in leaves if (leaf.kind, leaf.op) == (kind, "put")]
            if self.ledger.store.erased(self.origin, kind, ids):
                raise Fenced("a record was erased meanwhile", where=f"{kind} of {self.origin}", mend="read again")


def _portions(leaves: Sequence[Leaf]) -> Iterator[list[Leaf]]:
    """Cut leaves into batches that keep the limits on records and bytes."""
    part: list[Leaf] = []
    size = 0
    for leaf in leaves:
        weight = len(leaf.raw) + len(leaf.line) + 64
        if part and (len(part) == batch.MAX_RECORDS or size + weight > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(leaf)
        size += weight
    if part:
        yield part


class Reference(NamedTuple):
    """A record by origin, kind and id."""

    origin: str
    kind: str
    id: str


@dataclass
class Tally:
    """How many records something happened to, and the first of them: memory stays flat however many there are."""

    count: int = 0
    first: list[Reference] = field(default_factory=list)

    def add(self, reference: Reference) -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(reference)


@dataclass
class Outcome:
    """What a run did: the pull as stored, and what a reconciliation wants to know of it.

    `bytes` are those of the plain content that was held against the ledger.
    """

    pull: Pull
    added: Tally = field(default_factory=Tally)
    changed: Tally = field(default_factory=Tally)
    retracted: Tally = field(default_factory=Tally)
    vanished: Tally = field(default_factory=Tally)
    bytes: int = 0
    shortfalls: list[str] = field(default_factory=list)
    leftovers: Counter[str] = field(default_factory=Counter)


class Intake:
    """Runs feeds into a ledger, for the origins whose keys are here."""

    def __init__(
        self,
        ledger: Ledger,
        kinds: Mapping[str, Kind],
        issuer: Callable[[str], Issuer],
        digest_key: bytes,
        secret: Callable[[str], str],
        now: Clock,
        workshop: Workshop | None = None,
    ) -> None:
        """`workshop` prepares records in other processes; without one everything is done here."""
        self.ledger, self.store, self.kinds, self._issuer = ledger, ledger.store, kinds, issuer
        self._digest_key, self._secret, self._now, self._workshop = digest_key, secret, now, workshop
        self.sifts = workshop is not None and workshop.size > 0

    def run(
        self,
        declaration: Declaration,
        feed: Feed,
        connection: Mapping[str, Any],
        *,
        full: bool,
        who: str,
        progress: Progress | None = None,
    ) -> Outcome:
        """Read one feed from its cursor (or whole) and store what is new; never raises for what the far side does."""
        pull = Pull(declaration.code, feed.name, stamp(self._now()), who, full=full)
        with self.store.transaction():
            pull = replace(pull, number=self.store.start_pull(pull))
        cursor = None if full else self.store.cursor(declaration.code, feed.name)
        run = _Run(self, feed, pull, progress, incremental=cursor is not None)
        with self.store.scan() as scan:
            try:
                source = feed.source(connection, self._secret, now=self._now)
                reached = run.read(run.listed(source, scan) if cursor is None and feed.version else source.pages(cursor), scan)
                if cursor is None:
                    run.settle_absent(scan)
                run.finish(reached if reached is not None else cursor)
            except (Retry, Look) as error:
                run.stop("incomplete" if isinstance(error, Retry) else "failed", str(error), scan)
            except KeyRefused as error:  # This city's key is at fault: the others go on.
                run.stop("failed", str(error))
            except HubError as error:
                run.stop("failed", str(error))
                raise
        return run.outcome

    def prepared(self, how: Callable[..., "Future[Seen[T]]"], run: "_Run", rows: Sequence[Row]) -> "Future[Seen[T]]":
        """Rows as the workshop makes (`Workshop.make`) or sifts them (`Workshop.sift`), where it can tell."""
        if self._workshop is None or run.plan is None:
            return unseen(rows)
        return how(self._workshop, run.plan, run.kind.name, run.id_keys, [row.data for row in rows])

    def trial(self, feed: Feed, connection: Mapping[str, Any]) -> dict[str, int]:
        """Count what a whole read of a feed would do: new, revised, unchanged, refused, absent; stores nothing.

        It counts as the pull does: of a key that stands twice the first is taken, a refused row's record is not missed.
        """
        counts = dict.fromkeys(("read", "new", "revised", "unchanged", "refused", "absent"), 0)
        kind, mapper, source = (
            self.kinds[feed.kind],
            feed.mapper(),
            feed.source(connection, self._secret, now=self._now),
        )
        first: dict[tuple[str, str], bytes | None] = {}
        present: list[tuple[str, str]] = []
        unreadable = set(feed.origins) if feed.completeness == "delta" else set()

        def refused(origin: str | None, key: str | None) -> None:
            counts["refused"] += 1
            if origin is not None and key is not None:
                present.append((origin, self._issuer(origin).id_of(kind.name, key)))
            else:
                unreadable.update([origin] if origin else feed.origins)

        with self.store.scan() as scan:
            for page in source.pages(None):
                for row in page.rows:
                    counts["read"] += 1
                    try:
                        mapped = mapper(row)
                    except Refuse as error:
                        refused(error.origin, error.key)
                        continue
                    if mapped.retract:
                        continue
                    try:
                        kind.accept(mapped.body)
                    except KindError:
                        refused(mapped.origin, mapped.key)
                        continue
                    draft = self._issuer(mapped.origin).draft(kind, mapped.key, mapped.body)
                    if (at := (mapped.origin, draft.id)) in first:
                        same = first[at] == draft.digest or feed.duplicates != "refuse"
                        counts["unchanged" if same else "refused"] += 1
                        continue
                    first[at] = draft.digest
                    scan.add(mapped.origin, kind.name, [draft.id])
                    known = self.store.known(mapped.origin, kind.name, [draft.id]).get(draft.id)
                    fresh = known is None or known.op == "retract"
                    same = known is not None and known.digest == draft.digest
                    counts["new" if fresh else "unchanged" if same else "revised"] += 1
            for origin, id in present:
                scan.add(origin, kind.name, [id])
            for origin in set(feed.origins) - unreadable:
                counts["absent"] += sum(1 for _ in self.absent(feed, origin, scan))
        return counts

    def absent(self, feed: Feed, origin: str, scan: Scan) -> Iterator[str]:
        """Ids of an origin's standing records that a whole read of the feed did not meet, within its window."""
        after = ""
        while rows := scan.missing(origin, feed.kind, 1000, after):
            after = rows[-1][0]
            yield from (id for id, known in rows if self._in_window(feed, known))

    def _in_window(self, feed: Feed, known: Known) -> bool:
        """Whether a record lies within the bounds that a window read covers (its field is an open one)."""
        window = feed.window
        if feed.completeness != "window" or window is None:
            return True
        now = self._now()
        oldest, newest = (now - timedelta(days=window.days)).date().isoformat(), now.date().isoformat()
        for held in self.store.leaves(known.number, 1):
            if held.raw is not None:
                return oldest <= str(record.parse(held.raw).open.get(window.field, ""))[:10] <= newest
        return False


class _Sieve:
    """Lets through to the ordinary path what a whole read must look at closely; what the ledger holds as it is, is counted.

    Rows are mapped and digested in the workshop. Held back is only a row whose record stands with the same content, the first
    of its key in this read: the ordinary path would make nothing of it.
    """

    MOST_PASSED = 100_000

    def __init__(self, run: "_Run") -> None:
        self._run, self._open = run, True
        self._rows: list[Row] = []
        self._ahead: deque[tuple[list[Row], Future[Seen[Glimpse]]]] = deque()
        self._passed: set[tuple[str, str]] = set()

    @classmethod
    def of(cls, run: "_Run") -> "_Sieve | None":
        """A sieve for a run that has anything to hold back: a whole read of a feed that the ledger holds records of."""
        # Of a source that lists its rows only those that differ come here, and each one's version is noted.
        if run.incremental or run.plan is None or run.feed.version or not run.intake.sifts:
            return None
        if run.held() < SIFT_FROM:
            return None
        return cls(run)

    def take(self, rows: Sequence[Row], scan: Scan) -> None:
        self._rows += rows
        while len(self._rows) >= BATCH_RECORDS:
            part, self._rows = self._rows[:BATCH_RECORDS], self._rows[BATCH_RECORDS:]
            self._send(part, scan)

    def finish(self, scan: Scan) -> None:
        """Everything taken goes one way or the other."""
        self._send(self._rows, scan)
        self._rows = []
        while self._ahead:
            self._settle(scan)

    def _send(self, rows: list[Row], scan: Scan) -> None:
        if rows:
            self._ahead.append((rows, self._run.intake.prepared(Workshop.sift, self._run, rows)))
        while len(self._ahead) > AHEAD:
            self._settle(scan)

    def _settle(self, scan: Scan) -> None:
        rows, future = self._ahead.popleft()
        held: set[int] = set()
        if self._open:
            seen, leftovers = future.result()
            held = self._held(seen, scan)
            self._run.outcome.leftovers += Counter(leftovers)
        for n, row in enumerate(rows):
            if n not in held:
                self._run._take(row, scan)
        if len(self._passed) > self.MOST_PASSED:
            # Much changed: from here on everything takes the ordinary path, and memory stays flat.
            self._open, self._passed = False, set()

    def _held(self, glimpses: Sequence[Glimpse | None], scan: Scan) -> set[int]:
        """The places of rows that need nothing more."""
        run, first = self._run, dict[str, dict[str, tuple[int, bytes, int]]]()
        seen = [(n, each) for n, each in enumerate(glimpses) if each is not None]
        for n, (origin, id, digest, size) in seen:
            if (origin, id) not in self._passed:
                first.setdefault(origin, {}).setdefault(id, (n, digest, size))
        held: set[int] = set()
        for origin, rows in first.items():
            known = run.intake.store.known(origin, run.kind.name, list(rows))
            same = [id for id, row in rows.items() if id in known and known[id].op == "put" and known[id].digest == row[1]]
            met = scan.add(origin, run.kind.name, same)
            kept = [rows[id] for id in same if id not in met]
            held.update(row[0] for row in kept)
            run.outcome.bytes += sum(row[2] for row in kept)
            run.read_rows[origin] += len(kept)
            run.met_again[origin] += len(kept)
            run.unchanged += len(kept)
        self._passed.update((origin, id) for n, (origin, id, _, _) in seen if n not in held)
        return held


class _Run:
    """The state of one run: counts, the drafts gathered so far, the rows set aside."""

    def __init__(self, intake: Intake, feed: Feed, pull: Pull, progress: Progress | None, *, incremental: bool) -> None:
        self.incremental = incremental
        self.intake, self.feed, self.outcome, self.progress = intake, feed, Outcome(pull), progress
        self.kind = intake.kinds[feed.kind]
        self.mapper: Mapper = feed.mapper()
        self.read_rows: Counter[str] = Counter()
        self.met_again: Counter[str] = Counter()
        self.present: dict[str, set[str]] = {}
        self.unreadable: set[str] = set()
        self.stored = self.unchanged = self.read_count = 0
        self.rows: list[Row] = []
        self.ahead: deque[tuple[list[Row], Future[Seen[Made]]]] = deque()
        self.aside: list[Quarantined] = []
        self.marks: set[str] = set()
        self.last_refused = ""
        self.issuers: dict[str, Issuer] = {}
        self.sieve: _Sieve | None = None
        # What other processes need to map rows; None where a row's key depends on the rows before it.
        self.plan = None if ORDINAL in feed.key else msgspec.msgpack.encode(feed.plan)

    @cached_property
    def id_keys(self) -> dict[str, bytes]:
        """Id keys by origin; a row of an origin without a key here is looked at where that can be told."""
        found = {}
        for origin in self.feed.origins:
            with suppress(KeyRefused):
                found[origin] = self._issuer(origin).id_key
        return found

    # --- reading ---

    def listed(self, source: Any, scan: Scan) -> Iterator[Page]:
        """The pages of what differs, of a source that lists its rows; of what stands in the version listed nothing is read."""
        if not self.held():
            yield from source.pages(None)
            return
        for page in source.listing():
            differing = self._differing(page.rows, scan)
            # What differs is counted as it is read.
            self.read_count += len(page.rows) - len(differing)
            asked, came = len(differing), 0
            for whole in source.fetch(differing) if differing else ():
                came += len(whole.rows)
                yield whole
            if came < asked:
                # What was listed and does not come would count as vanished.
                raise Retry(self.feed.name, f"{came} rows came of the {asked} that its list was asked for")
            self.read_count -= came - asked

    def held(self) -> int:
        """How many records of this feed's the ledger holds."""
        mine = [each for each in self.intake.store.series() if each.kind == self.feed.kind]
        return sum(each.standing for each in mine if each.origin in self.feed.origins)

    def _differing(self, rows: Sequence[Row], scan: Scan) -> list[Row]:
        """Of listed rows those that must be read whole: not on the ledger, or there in another version."""
        differing: list[Row] = []
        found: dict[str, dict[str, Row]] = {}
        for row in rows:
            try:
                mapped = self.mapper.identify(row)
            except Refuse as error:
                self._refused(row, error)
                continue
            id = self._issuer(mapped.origin).id_of(self.kind.name, mapped.key)
            listed = found.setdefault(mapped.origin, {})
            if mapped.retract or id in listed:
                differing.append(row)
            else:
                listed[id] = row
        for origin, listed in found.items():
            known = self.intake.store.known(origin, self.kind.name, list(listed))
            held = self.intake.store.versions(self.feed.code, self.feed.name, list(listed))
            same = [
                id for id, row in listed.items()
                if id in known and known[id].op == "put" and held.get(id) == Version(known[id].rev, self._mark(row))
            ]  # fmt: skip
            met = scan.add(origin, self.kind.name, same)
            kept = {id for id in same if id not in met}
            differing += [row for id, row in listed.items() if id not in kept]
            self.read_rows[origin] += len(kept)
            self.met_again[origin] += len(kept)
            self.unchanged += len(kept)
        return differing

    def _mark(self, row: Row) -> bytes:
        """A keyed mark of a row's version, another one once the declaration or the kind has changed."""
        version = msgspec.json.encode(row.data.get(self.feed.version or ""))
        return hmac.digest(self.intake._digest_key, self._how + version, "sha256")[:16]

    @cached_property
    def _how(self) -> bytes:
        fields = sorted(f"{each.name} {each.group} {each.volatile}" for each in self.kind.fields.values())
        return sha256(msgspec.msgpack.encode((self.feed.plan, self.kind.name, fields))).digest()

    def read(self, pages: Iterator[Any], scan: Scan) -> str | None:
        """Read every page; gives the cursor reached."""
        cursor = None
        self.sieve = _Sieve.of(self)
        for page in pages:
            self.read_count += len(page.rows)
            if self.sieve is not None:
                self.sieve.take(page.rows, scan)
            else:
                for row in page.rows:
                    self._take(row, scan)
            self._refuse_too_many_refused()
            cursor = page.cursor or cursor
            if self.progress:
                self.progress(self.outcome.pull.code, self.feed.name, self.read_count)
        if self.sieve is not None:
            self.sieve.finish(scan)
        self._flush(scan)
        self._refuse_too_many_refused()
        self._retry(scan)
        self.outcome.leftovers += self.mapper.leftovers
        return cursor

    def _refuse_too_many_refused(self) -> None:
        """Rows at work in other processes are not counted yet: some thousands more may be refused before the read stops."""
        if len(self.marks) > MOST_QUARANTINED:
            what = f"more than {MOST_QUARANTINED} rows were refused"
            raise Look(self.last_refused, what, "check the declaration against the source")

    def _retry(self, scan: Scan) -> None:
        """Try rows set aside earlier again, in an incremental read (a whole read meets them by itself)."""
        pull = self.outcome.pull
        if not self.incremental:
            return
        for each in self.intake.store.quarantine(pull.code):
            newer = each.id and (
                each.id in self.present.get(each.origin, ()) or scan.add(each.origin, self.kind.name, [each.id])
            )
            # What this read said of the same record is newer: the old row is dropped.
            if each.feed != pull.feed or newer:
                continue
            if each.reason == TWICE:
                # Which of two rows stands, only a whole read can tell.
                self.aside.append(replace(each, last_seen=pull.started))
                self.marks.add(each.mark)
            else:
                self._take(Row(msgspec.json.decode(each.row), each.where), scan)
        self._flush(scan)

    def _take(self, row: Row, scan: Scan) -> None:
        self.rows.append(row)
        if len(self.rows) >= BATCH_RECORDS:
            self._send(scan)

    def _issuer(self, origin: str) -> Issuer:
        if origin not in self.issuers:
            self.issuers[origin] = self.intake._issuer(origin)
        return self.issuers[origin]

    # --- setting aside ---

    def _refused(self, row: Row, error: Refuse) -> None:
        if error.origin is not None and error.key is not None:
            self._present(error.origin, error.key)
        else:
            # Whoever this row was cannot be told: nothing of these origins may be taken for vanished.
            self.unreadable.update([error.origin] if error.origin else self.feed.origins)
        self._set_aside(row, error.field, str(error), error.origin or "", error.key)

    def _invalid(self, row: Row, mapped: Mapped, error: KindError) -> None:
        problems = error.problems
        self._present(mapped.origin, mapped.key)
        self._set_aside(row, problems[0].where, "; ".join(map(str, problems[:5])), mapped.origin, mapped.key)

    def _present(self, origin: str, key: str) -> None:
        """A refused row whose record is known: not absent, and no reason to take a good row for its double."""
        self.read_rows[origin] += 1
        self.present.setdefault(origin, set()).add(self._issuer(origin).id_of(self.kind.name, key))

    def _set_aside(self, row: Row, column: str, reason: str, origin: str, key: str | None) -> None:
        pull = self.outcome.pull
        raw = msgspec.json.encode(dict(row.data), enc_hook=str)
        mark = hmac.digest(self.intake._digest_key, raw, "sha256").hex()[:32]
        id = self._issuer(origin).id_of(self.kind.name, key) if origin and key is not None else ""
        self.aside.append(
            Quarantined(
                pull.code, pull.feed, mark, row.where, column, reason, pull.started, pull.started, origin, id, raw
            )
        )
        self.marks.add(mark)
        self.last_refused = row.where

    # --- storing ---

    def _send(self, scan: Scan) -> None:
        """Hand the rows gathered to the workshop, and store what it has done before."""
        if self.rows:
            self.ahead.append((self.rows, self.intake.prepared(Workshop.make, self, self.rows)))
            self.rows = []
        while len(self.ahead) > AHEAD:
            self._settle(scan)

    def _flush(self, scan: Scan) -> None:
        self._send(scan)
        while self.ahead:
            self._settle(scan)
        self._put_aside()

    def _settle(self, scan: Scan) -> None:
        """Store the oldest rows handed over: drafts of the good ones, the others aside."""
        rows, future = self.ahead.popleft()
        seen, leftovers = future.result()
        self.outcome.leftovers += Counter(leftovers)
        drafts: dict[str, list[tuple[Draft, Row]]] = {}
        for row, made in zip(rows, seen, strict=True):
            if made is not None:
                origin, draft = made.origin, Draft(self.kind, made.id, made.content)
            elif (found := self._look(row)) is not None:
                origin, draft = found
            else:
                continue
            if draft.content is not None:
                self.outcome.bytes += draft.content.size
            drafts.setdefault(origin, []).append((draft, row))
        for origin, each in drafts.items():
            self.read_rows[origin] += len(each)
            self._store(origin, each, scan)
        self._put_aside()

    def _look(self, row: Row) -> tuple[str, Draft] | None:
        """A row as a draft of its origin's; None where it had to be set aside."""
        try:
            mapped = self.mapper(row)
        except Refuse as error:
            self._refused(row, error)
            return None
        issuer = self._issuer(mapped.origin)
        if mapped.retract:
            return mapped.origin, Draft(self.kind, issuer.id_of(self.kind.name, mapped.key), None, "withdrawn")
        try:
            self.kind.accept(mapped.body)
        except KindError as error:
            self._invalid(row, mapped, error)
            return None
        return mapped.origin, issuer.draft(self.kind, mapped.key, mapped.body)

    def _put_aside(self) -> None:
        if self.aside:
            with self.intake.store.transaction():
                self.intake.store.put_quarantine(self.aside)
            self.aside = []

    def _store(self, origin: str, rows: list[tuple[Draft, Row]], scan: Scan) -> None:
        issuer = self._issuer(origin)
        gone = self.intake.store.erased(origin, self.kind.name, [draft.id for draft, _ in rows])
        if gone:
            # What was erased is not brought back, whatever its city still holds.
            scan.add(origin, self.kind.name, list(gone))
            self.unchanged += sum(draft.id in gone for draft, _ in rows)
            rows = [each for each in rows if each[0].id not in gone]
        ids = {draft.id for draft, _ in rows if draft.content or self.incremental}
        met = scan.add(origin, self.kind.name, list(ids))
        stands = issuer.standing([draft for draft, _ in rows])
        known = stands.known
        self.met_again[origin] += self._standing(known.get((self.kind.name, id)) for id in ids - met)
        first: dict[str, Draft] = {}
        for draft, row in rows:
            earlier = first.get(draft.id)
            standing = known.get((self.kind.name, draft.id))
            if earlier is None and not (draft.id in met and standing):
                first[draft.id] = draft
            elif (earlier.digest if earlier else standing and standing.digest) == draft.digest:
                self.unchanged += 1
            elif self.incremental:
                # Between two reads a record may well change: what was read later stands.
                first[draft.id] = draft
            elif self.feed.duplicates == "refuse":
                self._set_aside(row, ", ".join(self.feed.key), TWICE, origin, None)
            else:
                self.unchanged += 1
        leaves = issuer.issue(list(first.values()), standing=stands)
        if self.feed.version:
            self._note_versions(rows, first, known, leaves)
        for leaf in leaves:
            before = known.get((leaf.kind, leaf.id))
            if leaf.op == "retract":
                tally = self.outcome.retracted
            else:
                tally = self.outcome.changed if before and before.op == "put" else self.outcome.added
            tally.add(Reference(origin, leaf.kind, leaf.id))
        self.stored += sum(leaf.op == "put" for leaf in leaves)
        self.unchanged += len(first) - len(leaves)

    def _note_versions(
        self,
        rows: Sequence[tuple[Draft, Row]],
        first: Mapping[str, Draft],
        known: Mapping[tuple[str, str], Known],
        leaves: Sequence[Leaf],
    ) -> None:
        """After the records are stored: a crash before this reads their rows once more."""
        revs = {id: each.rev for (_, id), each in known.items() if each.op == "put"} | {leaf.id: leaf.rev for leaf in leaves}
        versions = [
            (draft.id, Version(revs[draft.id], self._mark(row)))
            for draft, row in rows
            if first.get(draft.id) is draft and draft.content and draft.id in revs
        ]
        store = self.intake.store
        with store.transaction():
            store.put_versions(self.feed.code, self.feed.name, versions)

    # --- absence ---

    def settle_absent(self, scan: Scan) -> None:
        """After a whole read: what stands on the ledger and was not met is retracted or flagged, as declared."""
        for origin, ids in self.present.items():
            met = scan.add(origin, self.kind.name, list(ids))
            known = self.intake.store.known(origin, self.kind.name, list(ids - met))
            self.met_again[origin] += self._standing(known.values())
        for origin in self.feed.origins:
            problem = self._shortfall(origin, scan)
            if problem:
                self.outcome.shortfalls.append(f"{origin}: {problem}; nothing retracted")
            elif self.feed.completeness != "delta" and origin not in self.unreadable:
                self._take_back(origin, scan)

    @staticmethod
    def _standing(known: Iterable[Known | None]) -> int:
        return sum(each is not None and each.op == "put" for each in known)

    def _shortfall(self, origin: str, scan: Scan) -> str:
        expect, rows = self.feed.expect, self.read_rows[origin]
        if expect.min_rows is not None and rows < expect.min_rows:
            return f"{rows} rows where at least {expect.min_rows} are expected"
        if expect.max_rows is not None and rows > expect.max_rows:
            return f"{rows} rows where at most {expect.max_rows} are expected"
        if expect.max_loss is not None and self.feed.completeness != "delta":
            lost = sum(1 for _ in self.intake.absent(self.feed, origin, scan))
            # What stood before this read, within its window: what was met again and what was not.
            stood = lost + self.met_again[origin]
            if stood > SMALL and lost > expect.max_loss * stood:
                return f"{lost} of {stood} records would vanish, more than {expect.max_loss}"
        return ""

    def _take_back(self, origin: str, scan: Scan) -> None:
        if self.feed.absent == "flag":
            for id in self.intake.absent(self.feed, origin, scan):
                self.outcome.vanished.add(Reference(origin, self.kind.name, id))
            return
        part: list[Draft] = []
        for id in self.intake.absent(self.feed, origin, scan):
            part.append(Draft(self.kind, id, None, "vanished"))
            if len(part) == BATCH_RECORDS:
                self._retract(origin, part)
                part = []
        self._retract(origin, part)

    def _retract(self, origin: str, drafts: list[Draft]) -> None:
        leaves = self._issuer(origin).issue(drafts) if drafts else []
        for leaf in leaves:
            self.outcome.retracted.add(Reference(origin, leaf.kind, leaf.id))

    # --- the end ---

    def finish(self, cursor: str | None) -> None:
        """Everything read is stored: move the cursor, drop what is no longer set aside, close the run."""
        pull, store = self.outcome.pull, self.intake.store
        problems = [*self.outcome.shortfalls]
        if self.outcome.leftovers:
            problems.append("columns nobody mapped: " + ", ".join(sorted(self.outcome.leftovers)[:20]))
        with store.transaction():
            store.put_cursor(pull.code, pull.feed, cursor)
            store.keep_quarantine(pull.code, pull.feed, pull.started)
            self._close("failed" if self.outcome.shortfalls else "succeeded", "; ".join(problems))

    def stop(self, state: str, problem: str, scan: Scan | None = None) -> None:
        """The read broke off: what was read (with its `scan`) is stored, the cursor stays, nothing counts as absent."""
        if scan is not None:
            if self.sieve is not None:
                self.sieve.finish(scan)
            self._flush(scan)
        with self.intake.store.transaction():
            self._close(state, problem)

    def _close(self, state: str, problem: str) -> None:
        self.outcome.pull = replace(
            self.outcome.pull,
            ended=stamp(self.intake._now()), state=state, problem=problem, read=self.read_count, stored=self.stored,
            unchanged=self.unchanged, retracted=self.outcome.retracted.count, quarantined=len(self.marks),
        )  # fmt: skip
        self.intake.store.end_pull(self.outcome.pull)
