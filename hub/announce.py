"""Puts each agreement in force on the ledger as a record of the hub, and tells partners what a change means for them.

What a partner gains it is told to pull again (`reissue`); what it loses has `ended` and may be kept, or is demanded back
(`erase`), as the agreement says. Notices join the transaction of the framework record, so neither stands without the other.
"""

from collections.abc import Mapping
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

from hub import record
from hub.framework import HUB, Change, Framework, diff, diff_lines, from_texts
from hub.intake import Draft, Issuer
from hub.kinds import Kind
from hub.store.base import Store

KIND = "framework/1"
_ANNOUNCED = "framework announced on"


class Version(NamedTuple):
    """An agreement as it was announced: which revision, when, in which entry, and what it changed for whom, in words."""

    rev: int
    at: str
    entry: int
    changes: dict[str, list[str]]


def versions(store: Store, kind: Kind, agreement: str, on: date) -> list[Version]:
    """What was announced of an agreement, newest first; each held against the one before it as both read on a day."""
    found: list[tuple[record.Record, bytes, int]] = []
    for id, known in store.walk(HUB, kind.name):
        for number in sorted({*store.revisions(HUB, kind.name, id), known.number}):
            (held,) = store.leaves(number, 1)
            told = record.parse(held.raw) if held.raw is not None else None
            if told is None or (told.op == "put" and told.open["agreement"] != agreement):
                break
            groups = record.reveal(told, held.disclosures.values())
            entry = store.entry_of(number)
            text = groups["terms"]["text"].encode() if told.op == "put" else b""
            found.append((told, text, entry.index if entry else 0))
    read = [from_texts({agreement: text} if text else {}) for _, text, _ in found]
    told_all = []
    for n, (told, _, index) in enumerate(found):
        before = read[n - 1] if n else from_texts({})
        changes = diff(before, read[n], on)
        names = read[n] if read[n].members else before
        lines = {lang: diff_lines(changes, names, lang) for lang in ("zh", "en")}
        told_all.append(Version(told.rev, told.at, index, lines))
    return told_all[::-1]


def texts_on_ledger(store: Store, kind: Kind) -> dict[str, bytes]:
    """The agreements' texts as the newest framework records carry them, by agreement."""
    texts = {}
    for _, known in store.walk(HUB, kind.name):
        for held in store.leaves(known.number, 1):
            if held.raw is not None and known.op == "put":
                body = record.reveal(record.parse(held.raw), held.disclosures.values())
                open_ = record.parse(held.raw).open
                texts[open_["agreement"]] = body["terms"]["text"].encode()
    return texts


def announce(store: Store, issuer: Issuer, kind: Kind, framework: Framework, on: date) -> list[Change]:
    """Publish what changed since the last announcement, by text or by date; gives who gained or lost what."""
    old = texts_on_ledger(store, kind)
    new = {name: framework.text(name) for name in framework.agreements}
    last = (store.get(_ANNOUNCED) or "").partition(" ")[0]
    if old == new and last == on.isoformat():
        return []
    before = from_texts(old)
    changes = diff(before, framework, on, was=date.fromisoformat(last)) if last else []
    mark = f"{on.isoformat()} {sha256(b''.join(new[name] for name in sorted(new))).hexdigest()}"
    ended = [issuer.id_of(kind.name, f'["{name}"]') for name in sorted(old.keys() - new.keys())]
    drafts = [Draft(kind, id, None, "withdrawn") for id in ended]
    for name, text in sorted(new.items()):
        if old.get(name) != text:
            drafts.append(issuer.draft(kind, f'["{name}"]', _body(store, issuer, kind, name, text, framework)))

    def tell() -> None:
        # Another process may have announced the very same meanwhile: its notices stand.
        if store.get(_ANNOUNCED) != mark:
            store.add_notices(notices(changes, before, framework, store.size()))
            store.put(_ANNOUNCED, mark)

    issuer.issue(drafts, tell)
    return changes


def _body(store: Store, issuer: Issuer, kind: Kind, name: str, text: bytes, framework: Framework) -> dict[str, Any]:
    id = issuer.id_of(kind.name, f'["{name}"]')
    known = store.known(HUB, kind.name, [id]).get(id)
    body = {
        "agreement": name,
        "version": known.rev + 1 if known else 1,
        "in_force_on": framework.agreements[name].in_force.isoformat(),
        "digest": sha256(text).hexdigest(),
        "text": text.decode(),
    }
    kind.accept(body)
    return body


def notices(
    changes: list[Change], before: Framework, after: Framework, upto: int
) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The notices that a change of the framework means: (partner, type, body).

    An agreement that is gone ends as its last version said.
    """
    found: dict[tuple[str, str, str, str], set[str]] = {}
    for change in changes:
        if change.origin == HUB:
            continue
        gained, lost = change.gained - change.elsewhere, change.lost - change.elsewhere
        agreement = after.agreements.get(change.agreement) or before.agreements.get(change.agreement)
        ending = "erase" if agreement is not None and agreement.when_ended == "erase" else "ended"
        for type, groups in (("reissue", gained), (ending, lost)):
            if groups:
                found.setdefault((change.to, type, change.origin, change.kind), set()).update(groups)
    for change in changes:
        # An erasure takes in letters between the two that another share still gives: these come again after it.
        if change.direct and change.gained and (change.to, "erase", change.origin, change.kind) in found:
            found.setdefault((change.to, "reissue", change.origin, change.kind), set()).update(change.gained)
    return [
        (to, type, {"origin": origin, "kind": kind, "groups": sorted(groups), "upto": upto})
        for (to, type, origin, kind), groups in sorted(found.items())
    ]
