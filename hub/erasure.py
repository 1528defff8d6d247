"""Erasing what must not be kept, with every proof intact: batches sign hashes, and hashes stay.

Rule 1. Disclosures of the groups named go, in every revision, and with them what was derived from them (content digests, rows
set aside, versions) and the files they name. With `whole` the record itself goes too and only its leaf hashes stay.
Rule 2. The tombstone on the ledger, the erasure and the notices to partners are one transaction; then journals and free space
are overwritten. A crash between the two leaves a mark, and the next start overwrites them.
Rule 3. What was erased takes no further revision: intake passes over it, a push of it is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from hub import audit, merkle, record
from hub.errors import HubError, NotFound
from hub.framework import HUB, Framework
from hub.intake import Issuer, Reference, stamp
from hub.kinds import Kind
from hub.ledger import Ledger
from hub.store.base import Erased, Store

KIND = "erasure/1"
FORGET = "forget"
SCRUB = "scrub"


def forget(
    ledger: Ledger, kinds: Mapping[str, Kind], digest_key: bytes, what: Reference, groups: frozenset[str], *, whole: bool
) -> int:
    """Inside the caller's transaction: take groups of a record, or all of it, out of a store; gives how many revisions."""
    store, needle, met = ledger.store, f'"id":"{what.id}"'.encode(), 0
    for entry in list(audit.entries(ledger)):
        if entry.origin != what.origin or entry.first is None:
            continue
        held = [each for each in store.leaves(entry.first, entry.count) if each.raw is not None and needle in each.raw]
        mine = [each for each in held if each.raw and (each_record := record.parse(each.raw)) and each_record.id == what.id
                and each_record.kind == what.kind]  # fmt: skip
        for each in mine:
            hash = merkle.leaf_hash(each.raw or b"")
            if whole:
                store.withhold_leaf(each.number, hash)
            else:
                store.forget_disclosures(each.number, hash, groups)
        met += len(mine)
        if mine and not whole:
            numbers = {each.number for each in mine}
            for after in store.leaves(entry.first, entry.count):
                if after.number in numbers:
                    ledger.index([audit.stored(after, kinds, digest_key)], after.number, renew=True)
    store.drop_attachments(what.origin, what.kind, what.id, None if whole else groups)
    if whole:
        store.drop_record(what.origin, what.kind, what.id)
    store.drop_derived(what.origin, what.id)
    store.put_erased(Erased(what.origin, what.kind, what.id, ("*",) if whole else tuple(sorted(groups))))
    store.put(SCRUB, "pending")
    return met


def scrub(store: Store) -> None:
    """Overwrite what erasures left in journals and free space, where one is waiting for it."""
    if store.get(SCRUB) == "pending" and store.scrub():
        with store.transaction():
            store.put(SCRUB, "")


class Erasures:
    """Erases on the hub; `issuer` is the hub's own."""

    def __init__(
        self,
        ledger: Ledger,
        issuer: Issuer,
        kinds: Mapping[str, Kind],
        digest_key: bytes,
        framework: Callable[[], Framework],
        now: Callable[[], datetime],
    ) -> None:
        self._ledger, self._store, self._issuer, self._kinds = ledger, ledger.store, issuer, kinds
        self._digest_key, self._framework, self._now = digest_key, framework, now

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
        before = self._store.erased(what.origin, what.kind, [what.id]).get(what.id, frozenset())
        if known is None and "*" not in before:
            raise NotFound("no such record", where=f"{what.kind} {what.origin} {what.id}")
        gone = frozenset({"*"}) if whole else gone | before
        body: dict[str, Any] = {
            "of_kind": what.kind, "of_origin": what.origin, "of_record": what.id, "whole": "*" in gone, "reason": reason,
            "erased_at": stamp(self._now()), "erased_by": who,
        }  # fmt: skip
        if "*" not in gone:
            body["gone"] = ".".join(sorted(gone))
        self._kinds[KIND].accept(body)
        revisions = 0

        def within() -> None:
            nonlocal revisions
            revisions = forget(self._ledger, self._kinds, self._digest_key, what, gone, whole="*" in gone)
            notice = {"origin": what.origin, "kind": what.kind, "id": what.id, "groups": sorted(gone)}
            self._store.add_notices([(code, FORGET, notice) for code in sorted(self._framework().members)])

        if not gone <= before:
            key = f'["{what.origin}","{what.kind}","{what.id}"]'
            self._issuer.issue([self._issuer.draft(self._kinds[KIND], key, body)], within)
        scrub(self._store)
        return {"origin": what.origin, "kind": what.kind, "id": what.id, "groups": sorted(gone), "revisions": revisions}

    def told(self) -> list[dict[str, Any]]:
        """Every erasure, and which partners say that they carried it out: their word, not a proof."""
        acked = {each.partner: each.notice for each in self._store.acked()}
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for code in sorted(self._framework().members):
            for notice in self._store.notices(code, 0, 1_000_000):
                if notice.type == FORGET:
                    body = notice.body
                    row = rows.setdefault(
                        (body["origin"], body["kind"], body["id"]), {**body, "said_done": [], "not_yet": []}
                    )
                    row["groups"] = body["groups"]
                    done = acked.get(code, 0) >= notice.number
                    for name, member in (("said_done", done), ("not_yet", not done)):
                        row[name] = sorted({*row[name], code} if member else set(row[name]) - {code})
        return [rows[key] for key in sorted(rows)]
