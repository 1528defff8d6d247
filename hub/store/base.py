"""The narrow interface every store keeps, and the shapes it hands out.

Rule 1. Writes happen only inside `with store.transaction():`, which is all or nothing, one writer at a time, durable once
left without an error.
Rule 2. Entries, records and tiles are only ever added (or erased); chains, series, current and counts are views that can
be derived again from them.
Rule 3. Disclosures, attachments and quarantined rows rest encrypted.
A new store joins by inheriting the contract tests in tests/contract/store_contract.py.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hub.batch import Chain
from hub.reconcile.worklist import Difference, Event
from hub.record import Leaf, Withheld


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger entry as stored. `first` is the number of its first record, None where its leaves are not held."""

    index: int
    text_hash: str
    origin: str
    seq: int
    note: bytes
    count: int
    first: int | None
    checkpoint: bytes


class Held(NamedTuple):
    """A stored leaf: its number, exact bytes or only its hash, and the disclosures held."""

    number: int
    raw: bytes | None
    hash: bytes | None
    disclosures: dict[str, str]


class Known(NamedTuple):
    """The current revision of a record: rev, op, content digest (None where unknown) and the number of its leaf."""

    rev: int
    op: str
    digest: bytes | None
    number: int


LISTED = "listed"
"""The store's own setting that says how far leaves are listed."""


class Series(NamedTuple):
    """How many records of one origin and kind stand, and how many are retracted."""

    origin: str
    kind: str
    standing: int
    retracted: int


@dataclass(frozen=True)
class Quarantined:
    """A row that could not be mapped or was refused by its kind. `row` is its encrypted content, never shown."""

    code: str
    feed: str
    mark: str
    where: str
    field: str
    reason: str
    first_seen: str
    last_seen: str
    origin: str = ""
    id: str = ""
    row: bytes = b""


@dataclass(frozen=True)
class Pull:
    """One run of one feed: state is running, succeeded, incomplete or failed; times are ISO with offset."""

    code: str
    feed: str
    started: str
    who: str
    ended: str | None = None
    state: str = "running"
    full: bool = False
    read: int = 0
    stored: int = 0
    unchanged: int = 0
    retracted: int = 0
    quarantined: int = 0
    problem: str = ""
    number: int = 0


class Pause(NamedTuple):
    """A jurisdiction that is not read: why, by whom, since when; `until` is the local date on which reading goes on, if any."""

    code: str
    reason: str
    who: str
    since: str
    until: str = ""


@dataclass(frozen=True)
class Night:
    """One agreement's reconciliation of one local date; state is claimed or committed."""

    agreement: str
    night: str
    state: str
    token: str
    until: int
    result: Mapping[str, Any] = field(default_factory=dict)


class Notice(NamedTuple):
    """What a framework change adds, ends or demands back from one partner."""

    number: int
    partner: str
    type: str
    body: dict[str, Any]


class Acked(NamedTuple):
    """How far a partner said it holds the ledger and its notices, and when.

    `size` and `root` (base64) are of the copy as it said last, `root` empty where it did not say.
    """

    partner: str
    after: int
    notice: int
    at: str
    size: int = 0
    root: str = ""


class Version(NamedTuple):
    """The revision that a source's row of some version is on the ledger as; `mark` is the version's keyed mark, 16 bytes."""

    rev: int
    mark: bytes


class Erased(NamedTuple):
    """A record of which groups were erased; `*` stands for all of it."""

    origin: str
    kind: str
    id: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Account:
    """Who may use the console. Without agreements it works in all; it sees sealed groups for its jurisdictions alone.

    `password` is an argon2 hash, empty where somebody else recognises the person; `wait_until` a Unix second.
    """

    name: str
    person: str
    role: str
    agreements: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()
    password: str = ""
    blocked: bool = False
    failures: int = 0
    wait_until: int = 0
    created: str = ""


@dataclass(frozen=True)
class Session:
    """An account's session; `mark` is the SHA-256 of its token in hex, times are ISO with offset."""

    mark: str
    account: str
    started: str
    seen: str


class Noted(NamedTuple):
    """One line of the journal: who did or looked at what; references and codes only."""

    at: str
    who: str
    what: str
    about: str = ""
    detail: str = ""
    number: int = 0


class Attached(NamedTuple):
    """Which record names a file by its SHA-256 (small hex), and in which group."""

    origin: str
    kind: str
    id: str
    sha256: str
    group: str


class Listed(NamedTuple):
    """A stored leaf as it is listed and found.

    `scope` are the open fields that decide who gets it (canonical JSON), `day` an ISO date; `marks` are keyed marks of its
    values (64 bits, signed) with the group each is of. A revision that stands no longer has none.
    """

    number: int
    origin: str
    kind: str
    id: str
    scope: str
    day: str
    item: str
    standing: bool
    marks: tuple[tuple[int, str], ...] = ()


class Shelf(NamedTuple):
    """Records alike in origin, kind and scope, so that one decision holds for all of them."""

    number: int
    origin: str
    kind: str
    scope: str


class Scan(Protocol):
    """The keys met in one read of a whole range, kept outside memory."""

    def add(self, origin: str, kind: str, ids: Sequence[str]) -> set[str]:
        """Note ids as present; gives those that an earlier call of this scan noted."""
        ...

    def missing(self, origin: str, kind: str, limit: int, after: str) -> list[tuple[str, Known]]:
        """Up to `limit` standing records after id `after`, in id order, that this scan has not met."""
        ...


class Store(Protocol):
    """Entries, records, views and the hub's own state."""

    def transaction(self) -> AbstractContextManager[None]:
        """Take the write lock at once; commit durably on leaving, roll back on an error."""
        ...

    def close(self) -> None: ...

    # small settings of the store itself
    def get(self, key: str) -> str | None: ...
    def put(self, key: str, value: str) -> None: ...

    # the ledger
    def size(self) -> int: ...
    def entry(self, index: int) -> Entry | None: ...
    def entry_at(self, origin: str, seq: int) -> Entry | None: ...
    def find(self, text_hash: str) -> Entry | None: ...
    def entries(self, after: int, limit: int) -> list[Entry]: ...
    def key_entries(self, origin: str) -> list[Entry]: ...
    def entry_of(self, number: int) -> Entry | None:
        """The batch that holds a leaf, by the leaf's number."""
        ...

    def append_entry(self, entry: Entry) -> None: ...
    def replace_entry(self, entry: Entry) -> None:
        """Put an entry of a copy that was damaged back as it is served."""
        ...

    def set_first(self, index: int, first: int) -> None:
        """Say where the leaves of an entry begin that came after the entry itself."""
        ...

    def tile(self, level: int, index: int) -> bytes: ...
    def put_tiles(self, tiles: Mapping[tuple[int, int], bytes]) -> None: ...

    # records
    def append_leaves(self, leaves: Sequence[Leaf | Withheld], hashes: Sequence[bytes]) -> int:
        """Store leaves in order and give the number of the first."""
        ...

    def fill_leaf(self, number: int, leaf: Leaf, hash: bytes) -> None:
        """Put what a reissue adds to a leaf already stored."""
        ...

    def forget_disclosures(self, number: int, hash: bytes, groups: Iterable[str]) -> None: ...
    def withhold_leaf(self, number: int, hash: bytes) -> None:
        """Keep only the hash of a leaf."""
        ...

    def drop_leaves(self, first: int, count: int) -> None:
        """Let a whole batch of leaves of a copy go, to be stored anew."""
        ...

    def leaves(self, first: int, count: int) -> Iterator[Held]: ...

    # views
    def chain(self, origin: str) -> Chain: ...
    def put_chain(self, chain: Chain) -> None: ...
    def chains(self) -> list[Chain]: ...
    def known(self, origin: str, kind: str, ids: Sequence[str]) -> dict[str, Known]: ...
    def set_current(
        self, origin: str, kind: str, rows: Iterable[tuple[str, Known]], standing: int, retracted: int
    ) -> None:
        """Replace current revisions; `standing` and `retracted` are what the counts grow by."""
        ...

    def forget_digests(self, origin: str) -> None:
        """Take the content digests of an origin's records out of the current view: they are signed elsewhere."""
        ...

    def drop_current(self, origin: str, kind: str) -> None:
        """Take a whole series out of the current view (a copy that had to be given back)."""
        ...

    def walk(self, origin: str, kind: str) -> Iterator[tuple[str, Known]]: ...
    def series(self) -> list[Series]: ...
    def clear_views(self) -> None:
        """Empty the views, and let what is listed be listed anew."""
        ...

    def view_digests(self) -> dict[str, str]:
        """A digest of each view's whole content, to compare before and after a rebuild."""
        ...

    # intake
    def scan(self) -> AbstractContextManager[Scan]: ...
    def cursor(self, code: str, feed: str) -> str | None: ...
    def put_cursor(self, code: str, feed: str, cursor: str | None) -> None: ...
    def put_versions(self, code: str, feed: str, versions: Iterable[tuple[str, Version]]) -> None:
        """Note by record id which version of its row is on the ledger, as which revision."""
        ...

    def versions(self, code: str, feed: str, ids: Sequence[str]) -> dict[str, Version]: ...
    def put_quarantine(self, rows: Sequence[Quarantined]) -> None: ...
    def keep_quarantine(self, code: str, feed: str, since: str) -> int:
        """Drop what was not met again since a time (it was mended or is gone); gives how many went."""
        ...

    def quarantine(self, code: str | None = None) -> list[Quarantined]: ...
    def quarantined(self, code: str | None = None) -> int:
        """How many rows are set aside; none is opened."""
        ...

    def start_pull(self, pull: Pull) -> int: ...
    def end_pull(self, pull: Pull) -> None: ...
    def pull_days(self, code: str, since: str) -> list[tuple[str, tuple[str, ...]]]:
        """The states that a city's runs ended in, by the local day they started on."""
        ...

    def stored_on(self, day: str) -> int:
        """Records and retractions stored by the runs that started on a local day."""
        ...

    def last_pulls(self) -> list[Pull]:
        """Per feed the newest run and the newest one that succeeded."""
        ...

    def runs(self, feeds: Collection[tuple[str, str]], limit: int) -> list[Pull]:
        """The newest runs of some feeds, by (code, feed), the newest first."""
        ...

    def put_pause(self, pause: Pause) -> None:
        """Pause a jurisdiction, in place of a pause it had."""
        ...

    def drop_pause(self, code: str) -> None: ...
    def pauses(self) -> list[Pause]: ...

    # nights
    def claim_night(self, agreement: str, night: str, token: str, now: int, until: int) -> bool:
        """Take, or hold on to, a night that is neither committed nor under another's unexpired claim."""
        ...

    def commit_night(self, agreement: str, night: str, token: str, result: Mapping[str, Any]) -> None:
        """Mark a night committed; raises Fenced where the claim is no longer this token's."""
        ...

    def put_progress(self, agreement: str, night: str, token: str, result: Mapping[str, Any]) -> None:
        """Tell how far the holder of a claimed night is; nothing where the claim is another's."""
        ...

    def night(self, agreement: str, night: str) -> Night | None: ...
    def nights(self, agreement: str, limit: int) -> list[Night]: ...
    def nights_between(self, agreement: str, first: str, last: str) -> list[Night]:
        """Those of the local dates from `first` to `last`, both included, newest first."""
        ...

    def put_differences(self, rows: Iterable[Difference], events: Iterable[Event]) -> None:
        """Replace differences by identity, and add steps of their lives."""
        ...

    def differences(self, agreement: str | None = None, *, closed: bool = False) -> list[Difference]:
        """The open ones, or with `closed` all, oldest first."""
        ...

    def difference(self, identity: str) -> Difference | None: ...
    def difference_events(self, identity: str) -> list[Event]: ...

    # what is found by
    def last_leaf(self) -> int:
        """The number of the newest leaf, 0 where there is none."""
        ...

    def put_listed(self, rows: Iterable[Listed]) -> None:
        """List leaves in the order of their numbers: one that stands takes the place and the marks of what stood before it."""
        ...

    def clear_listed(self) -> None: ...
    def shelves(self) -> list[Shelf]: ...
    def listed(
        self, shelves: Collection[int], limit: int, skip: int = 0, *, marks: Mapping[int, Collection[int]] | None = None,
        item: str = "", since: str = "", until: str = "",
    ) -> tuple[int, list[tuple[int, int]]]:  # fmt: skip
        """How many standing records of some shelves there are, and the number and shelf of some, newest day first.

        With `marks` those alone that have one of them; each counts on the shelves it is given with. Days are inclusive.
        """
        ...

    def revisions(self, origin: str, kind: str, id: str) -> list[int]:
        """The numbers of a record's leaves, oldest first, as far as they are listed."""
        ...

    def drop_marks(self, origin: str, kind: str, id: str, groups: Iterable[str]) -> None:
        """Forget by which values of some groups a record is found."""
        ...

    # partners
    def add_notices(self, notices: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None: ...
    def notices(self, partner: str, after: int, limit: int) -> list[Notice]: ...
    def put_acked(self, acked: Acked) -> None: ...
    def acked(self) -> list[Acked]: ...

    # witnesses
    def put_cosignature(self, size: int, witness: str, line: str) -> None:
        """Keep a witness's line under the checkpoint of that size, in place of one it gave before."""
        ...

    def cosignatures(self) -> list[tuple[int, str, str]]:
        """Every line kept, with its size and witness, the largest size first."""
        ...

    def drop_cosignatures(self, below: int) -> None:
        """Forget the lines of smaller sizes: a quorum under a larger one says more."""
        ...

    # the console
    def put_account(self, account: Account) -> None: ...
    def account(self, name: str) -> Account | None: ...
    def accounts(self) -> list[Account]: ...
    def put_session(self, session: Session) -> None: ...
    def session(self, mark: str) -> Session | None: ...
    def drop_sessions(self, *, account: str | None = None, mark: str | None = None, before: str | None = None) -> None:
        """End the sessions of an account, one session, those started before a time, or with none of these all."""
        ...

    def note(self, noted: Noted) -> None: ...
    def notes(self, limit: int, before: int | None = None, **where: str) -> list[Noted]:
        """Lines of the journal, newest first, with a number below `before`; `where` by who, what or about."""
        ...

    # files that records name
    def put_attachment(self, attached: Attached, content: bytes) -> bool:
        """Keep what an attachment holds, in place of what is damaged; False where it is there already."""
        ...

    def attachment(self, origin: str, kind: str, id: str, sha256: str) -> bytes | None:
        """What it holds; None where it is not kept here, KeyRefused where it does not open under this store's key."""
        ...

    def attachments(self) -> Iterator[Attached]:
        """Every attachment kept here."""
        ...

    def drop_attachments(self, origin: str, kind: str, id: str, groups: Iterable[str] | None) -> None:
        """Forget what a record's attachments hold: those that these groups name, or with None all."""
        ...

    # upkeep
    def backup(self, path: Path) -> None:
        """Write the whole store, as it stands, to a new file."""
        ...

    def put_erased(self, erased: Erased) -> None:
        """Note what was erased of a record, in place of what was noted before."""
        ...

    def erased(self, origin: str, kind: str, ids: Iterable[str]) -> dict[str, frozenset[str]]:
        """By id which groups were erased; `ids` are read only where something of this kind was."""
        ...

    def drop_record(self, origin: str, kind: str, id: str) -> None:
        """Take a record out of the current view and its counts, and out of what is found."""
        ...

    def drop_derived(self, origin: str, id: str) -> None:
        """Forget rows set aside and versions noted of a record."""
        ...

    def scrub(self) -> bool:
        """Let nothing that was erased stay in journals or free space; False where somebody still reads: try again later."""
        ...

    def check(self) -> list[str]:
        """What the store's own integrity check reports; empty when sound."""
        ...
