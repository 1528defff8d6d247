"""Erasing what must not be kept, with every proof intact: batches sign hashes, and hashes stay.

Rule 1. Disclosures of the groups named go, in every revision, and with them what was derived from them (content digests, rows
set aside, versions, marks they are found by) and the files they name. With `whole` the record itself goes too and only its
leaf hashes stay.
Rule 2. The tombstone on the ledger, the erasure and the notices to partners are one transaction; then journals and free space
are overwritten. A crash between the two leaves a mark, and the next start overwrites them.
Rule 3. What was erased takes no further revision: intake passes over it, a push of it is refused.
Rule 4. What its kind lets nobody keep longer goes the same way, once a day, without a person.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from hub import audit, merkle, record
from hub.errors import Fenced, HubError, NotFound
from hub.framework import HUB, Framework
from hub.intake import BATCH_RECORDS, Draft, Issuer, Reference, stamp
from hub.kinds import Kind
from hub.kinds.retention import ALL
from hub.ledger import Ledger
from hub.record import Leaf, Withheld
from hub.store.base import Erased, Notice, Store

KIND = "erasure/1"
FORGET = "forget"
SCRUB = "scrub"
EXPIRED = "retention"
"""Who erases by schedule; and the key under which the store keeps the day that was last looked at."""
WHOLE = frozenset({ALL})

Gone = Mapping[Reference, frozenset[str]]


class _Name(msgspec.Struct):
    """What of a stored record says which it is: all else of millions of leaves is passed over."""

    id: str
    kind: str


_name = msgspec.json.Decoder(_Name).decode


def strip(
    ledger: Ledger, kinds: Mapping[str, Kind], digest_key: bytes, origins: Collection[str],
    gone: Callable[[Reference], frozenset[str]],
) -> Counter[Reference]:  # fmt: skip
    """Inside the caller's transaction: one walk over all batches of some origins, taking from each leaf the groups that `gone`
    names, or with ALL the leaf but for its hash; gives how many revisions of each record were met."""
    store, met = ledger.store, Counter[Reference]()
    for entry in audit.entries(ledger):
        if entry.origin not in origins or entry.first is None:
            continue
        cut: set[int] = set()
        for held in list(store.leaves(entry.first, entry.count)):
            if held.raw is None:
                continue
            name = _name(held.raw)
            what = Reference(entry.origin, name.kind, name.id)
            groups = gone(what)
            if not groups:
                continue
            met[what] += 1
            if ALL in groups:
                store.withhold_leaf(held.number, merkle.leaf_hash(held.raw))
            else:
                store.forget_disclosures(held.number, merkle.leaf_hash(held.raw), groups)
                cut.add(held.number)
        if cut:
            key = ledger.key_for(entry.origin, digest_key)
            # What was not touched stands as it is: only a leaf that is told here is looked at.
            after: list[Leaf | Withheld] = [
                audit.stored(held, kinds, key) if held.number in cut else Withheld(b"")
                for held in store.leaves(entry.first, entry.count)
            ]
            ledger.index(after, entry.first, renew=True)
    return met


def forget(ledger: Ledger, kinds: Mapping[str, Kind], digest_key: bytes, gone: Gone) -> Counter[Reference]:
    """Inside the caller's transaction: take groups of records, or with ALL the whole records, out of a store and remember it;
    gives how many revisions of each were met."""
    store = ledger.store
    met = strip(ledger, kinds, digest_key, {what.origin for what in gone}, lambda what: gone.get(what, frozenset()))
    for what, groups in gone.items():
        store.drop_attachments(what.origin, what.kind, what.id, None if ALL in groups else groups)
        if ALL in groups:
            store.drop_record(what.origin, what.kind, what.id)
        store.drop_derived(what.origin, what.id)
        store.drop_marks(what.origin, what.kind, what.id, groups)
        store.put_erased(Erased(what.origin, what.kind, what.id, (ALL,) if ALL in groups else tuple(sorted(groups))))
    store.put(SCRUB, "pending")
    return met


def scrub(store: Store) -> None:
    """Overwrite what erasures left in journals and free space, where one is waiting for it."""
    if store.get(SCRUB) == "pending" and store.scrub():
        with store.transaction():
            store.put(SCRUB, "")


class Expired(NamedTuple):
    """A record of which groups (ALL: the whole) are kept no longer than a day that is over, by a rule of its kind."""

    what: Reference
    groups: frozenset[str]
    reason: str
    until: date
    law: str

    def plain(self) -> dict[str, Any]:
        told = {"groups": sorted(self.groups), "reason": self.reason, "kept_until": self.until.isoformat(), "law": self.law}
        return self.what._asdict() | told


class Erasures:
    """Erases on the hub; `issuer` is the hub's own."""

    def __init__(
        self,
        ledger: Ledger,
        issuer: Issuer,
        kinds: Mapping[str, Kind],
        digest_key: bytes,
        framework: Callable[[], Framework],
        zone: ZoneInfo,
        now: Callable[[], datetime],
    ) -> None:
        """`zone` is the one that days of retention are told in."""
        self._ledger, self._store, self._issuer, self._kinds = ledger, ledger.store, issuer, kinds
        self._digest_key, self._framework, self._zone, self._now = digest_key, framework, zone, now

    # --- by a person ---

    def erase(self, what: Reference, groups: Iterable[str], reason: str, who: str, *, whole: bool = False) -> dict[str, Any]:
        """Erase groups of a record, or with `whole` the record; gives what was done. The same again does nothing new."""
        gone = frozenset(groups)
        kind = self._kinds.get(what.kind)
        if kind is None or what.origin == HUB:
            raise HubError("no kind whose records can be erased", where=what.kind)
        if bool(gone) == whole or not gone <= set(kind.groups):
            raise HubError("name groups to erase, or --whole", where=what.kind, mend=f"its groups: {', '.join(kind.groups)}")
        reasons = self._kinds[KIND].codes["erasure_reason"]
        if reason not in reasons:
            raise HubError(f"{reason!a} is no reason", where="--reason", mend=f"one of {', '.join(reasons)}")
        known = self._store.known(what.origin, what.kind, [what.id]).get(what.id)
        before = self._before(what)
        if known is None and ALL not in before:
            raise NotFound("no such record", where=f"{what.kind} {what.origin} {what.id}")
        gone = WHOLE if whole or ALL in before else gone | before
        met = self._carry_out({what: (gone, reason)}, who) if not gone <= before else Counter[Reference]()
        scrub(self._store)
        return {"origin": what.origin, "kind": what.kind, "id": what.id, "groups": sorted(gone), "revisions": met[what]}

    def _before(self, what: Reference) -> frozenset[str]:
        """What was erased of a record already."""
        return self._store.erased(what.origin, what.kind, [what.id]).get(what.id, frozenset())

    def _carry_out(self, wanted: Mapping[Reference, tuple[frozenset[str], str]], who: str) -> Counter[Reference]:
        """Erase groups of records, each for a reason, in one walk and one transaction; Fenced where another did meanwhile."""
        gone = {what: groups for what, (groups, _) in wanted.items()}
        met = Counter[Reference]()

        def within() -> None:
            # Under the write lock: of two processes with the same record in hand the second finds it gone, and keeps nothing.
            if any(groups <= self._before(what) for what, groups in gone.items()):
                raise Fenced("another run has erased these records meanwhile", mend="nothing to do")
            met.update(forget(self._ledger, self._kinds, self._digest_key, gone))
            notices = [what._asdict() | {"groups": sorted(groups)} for what, groups in gone.items()]
            self._store.add_notices([(code, FORGET, each) for code in sorted(self._framework().members) for each in notices])

        self._issuer.issue([self._tombstone(what, groups, reason, who) for what, (groups, reason) in wanted.items()], within)
        return met

    def _tombstone(self, what: Reference, groups: frozenset[str], reason: str, who: str) -> Draft:
        body: dict[str, Any] = {
            "of_kind": what.kind, "of_origin": what.origin, "of_record": what.id, "whole": ALL in groups, "reason": reason,
            "erased_at": stamp(self._now()), "erased_by": who,
        }  # fmt: skip
        if ALL not in groups:
            body["gone"] = ".".join(sorted(groups))
        self._kinds[KIND].accept(body)
        return self._issuer.draft(self._kinds[KIND], f'["{what.origin}","{what.kind}","{what.id}"]', body)

    # --- by schedule ---

    def expired(self) -> Iterator[Expired]:
        """Every record of which its kind's `retention` lets something be kept no longer, and that still holds it."""
        today = self._now().astimezone(self._zone).date()
        for row in self._store.series():
            kind = self._kinds.get(row.kind)
            if kind is None or row.origin == HUB or not kind.retention:
                continue
            for _, _, held in audit.current(self._store, row.origin, row.kind):
                found = self._over(kind, record.parse(held.raw), today) if held.raw else None
                if found is None:
                    continue
                before = self._before(found.what)
                if not found.groups <= before:
                    yield found._replace(groups=found.groups if ALL in found.groups else found.groups | before)

    def _over(self, kind: Kind, parsed: record.Record, today: date) -> Expired | None:
        """What of a record the rules of its kind end before today; the reason and law are those of the rule that takes most."""
        at, ended = datetime.fromisoformat(parsed.at), []
        for rule in kind.retention:
            last = rule.last(parsed.open, at, self._zone, retracted=parsed.op == "retract")
            if last is not None and last < today:
                ended.append((rule, last))
        if not ended:
            return None
        rule, last = max(ended, key=lambda each: (not each[0].groups, len(each[0].groups)))
        groups = WHOLE if not rule.groups else frozenset(group for each, _ in ended for group in each.groups)
        what = Reference(parsed.origin, parsed.kind, parsed.id)
        return Expired(what, groups, rule.reason, last, rule.law + rule.article)

    def expire(self) -> int:
        """Erase all that is expired; gives of how many records. What a crash left undone the next run does."""
        found = list(self.expired())
        for n in range(0, len(found), BATCH_RECORDS):
            part = found[n : n + BATCH_RECORDS]
            self._carry_out({each.what: (each.groups, each.reason) for each in part}, EXPIRED)
        scrub(self._store)
        return len(found)

    def expire_daily(self) -> None:
        """The same, once on each local day."""
        today = self._now().astimezone(self._zone).date().isoformat()
        if self._store.get(EXPIRED) == today:
            return
        self.expire()
        # A crash before this lets the next tick look again, and find nothing left.
        with self._store.transaction():
            self._store.put(EXPIRED, today)

    # --- what partners say ---

    def told(self) -> list[dict[str, Any]]:
        """Every erasure, and which partners say that they carried it out: their word, not a proof."""
        acked = {each.partner: each.notice for each in self._store.acked()}
        newest: dict[Reference, dict[str, Notice]] = {}
        for code in sorted(self._framework().members):
            for notice in self._store.notices(code, 0, 1_000_000):
                if notice.type == FORGET:
                    what = Reference(*(notice.body[name] for name in Reference._fields))
                    newest.setdefault(what, {})[code] = notice
        return [
            what._asdict() | {
                "groups": max(of.values()).body["groups"],
                "said_done": [code for code, notice in of.items() if acked.get(code, 0) >= notice.number],
                "not_yet": [code for code, notice in of.items() if acked.get(code, 0) < notice.number],
            }
            for what, of in sorted(newest.items())
        ]  # fmt: skip
