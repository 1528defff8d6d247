"""Records as people look at them: found, shown revision by revision, each link of their provenance, and as evidence.

Rule 1. An account sees what the framework gives the jurisdictions it works for, on that day, within its agreements. One
that works for none sees open fields alone, of its agreements' members. Withheld and unknown are one answer.
Rule 2. Each look at a sealed group is noted in the journal before it is shown. A list shows a party by its mask, if it has one.
Rule 3. What is looked for may name a person: it is kept in memory alone, for its account, and never in an address or a log.
"""

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from adapters.declaration import Declaration
from hub import audit, batch, merkle, note, record
from hub.accounts import Accounts
from hub.batch import Batch, KeyEntry
from hub.canonical import unb64
from hub.desk import Desk
from hub.erasure import KIND as ERASURE
from hub.errors import HubError, NotFound
from hub.evidence import TrustFile
from hub.framework import HUB, Decision, Framework, RecordLike, union
from hub.kinds import Kind
from hub.kinds.vocabulary import Field
from hub.record import Peek
from hub.searching import OPEN, Asked, Searching
from hub.store.base import Account, Entry, Held, Known, Shelf

ROWS = 50
FEW = 1_000
REMEMBERED = 2_000
_SEP = {"zh": "、", "en": ", "}


class Seen(NamedTuple):
    """A stored revision cut to what an account may see: the fields of each home it may, and why."""

    held: Held
    peek: Peek
    decision: Decision
    fields: dict[str, dict[str, Any]]

    @property
    def groups(self) -> list[str]:
        return sorted(self.fields.keys() - {OPEN})


class _Shelved(NamedTuple):
    """The records of a shelf, as a decision looks at them."""

    kind: str
    origin: str
    op: str
    open: Mapping[str, Any]


class Records:
    """The records of a hub; `trust` gives what evidence is checked against, `id_of` the id of the hub's own by kind and key."""

    def __init__(
        self,
        desk: Desk,
        searching: Searching,
        framework: Callable[[], Framework],
        accounts: Accounts,
        declarations: Mapping[str, Declaration],
        trust: Callable[[], TrustFile],
        id_of: Callable[[str, str], str],
        zone: ZoneInfo,
        now: Callable[[], datetime],
    ) -> None:
        self._desk, self._searching, self._framework, self._accounts = desk, searching, framework, accounts
        self._declarations, self._trust, self._id_of, self._zone, self._now = declarations, trust, id_of, zone, now
        self._ledger, self._store, self._kinds = desk.ledger, desk.ledger.store, desk.kinds
        self._remembered: OrderedDict[str, tuple[str, Asked]] = OrderedDict()
        self._guard = threading.Lock()

    # --- who sees what ---

    def visible(self, account: Account, of: RecordLike) -> Decision:
        """What an account sees of a record: whether at all, which sealed groups, and the clauses that say so."""
        framework, on = self._framework(), self._now().date()
        if account.jurisdictions:
            return union(framework.decide_on(of, code, on, account.agreements) for code in account.jurisdictions)
        return Decision(self._near(framework, account, of, on), frozenset(), ())

    def _near(self, framework: Framework, account: Account, of: RecordLike, on: date) -> bool:
        """Whether a record is of a member of the account's agreements, or speaks of one of them."""
        if not account.agreements:
            return True
        if of.origin == HUB:
            return "agreement" not in of.open or of.open["agreement"] in account.agreements
        return not set(account.agreements).isdisjoint(framework.agreements_of(of.origin, on))

    def _cut(self, account: Account, held: Held) -> Seen | None:
        """A stored revision as the account may see it, None where it may not."""
        if held.raw is None:
            return None
        peek = record.peek(held.raw)
        decision = self.visible(account, peek)
        if not decision.shared:
            return None
        opened = {group: record.disclosed(text) for group, text in held.disclosures.items() if group in decision.groups}
        return Seen(held, peek, decision, {OPEN: peek.open, **opened})

    def _held(self, number: int) -> Held:
        return next(self._store.leaves(number, 1))

    def _look(self, account: Account, what: str, about: str, groups: Collection[str], detail: str = "") -> None:
        self._accounts.noted(account.name, what, about, " ".join([*sorted(groups), *([detail] if detail else [])]))

    # --- search ---

    def choices(self, account: Account) -> dict[str, dict[str, Mapping[str, str]]]:
        """The kinds and the origins that an account can look among, by code with their names."""
        self._searching.catch_up(FEW)
        seen = [each for each in self._store.shelves() if self._may(account, each).shared]
        kinds = {each.kind: self._label(each.kind) for each in sorted(seen, key=lambda each: each.kind)}
        return {"kind": kinds, "origin": {each.origin: self._name(each.origin) for each in seen}}

    def _may(self, account: Account, shelf: Shelf) -> Decision:
        return self.visible(account, _Shelved(shelf.kind, shelf.origin, "put", json.loads(shelf.scope)))

    def remember(self, account: Account, asked: Asked) -> str:
        """Keep what was asked for until it is asked for again; gives what to ask by."""
        token = secrets.token_urlsafe(12)
        with self._guard:
            self._remembered[token] = (account.name, asked)
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return token

    def recall(self, account: Account, token: str) -> Asked | None:
        """What an account asked for; None where it is forgotten, or was another's."""
        with self._guard:
            name, asked = self._remembered.get(token, ("", None))
        return asked if name == account.name else None

    def check(self, asked: Asked, choices: Mapping[str, Collection[str]]) -> str:
        """The name of the first part of a question that cannot be, or nothing; `choices` are the account's."""
        for name in ("kind", "origin"):
            if getattr(asked, name) and getattr(asked, name) not in choices[name]:
                return name
        for name in ("since", "until"):
            if getattr(asked, name) and not _is_day(getattr(asked, name)):
                return name
        return "words" if len(asked.words) > 500 or len(asked.item) > 128 else ""

    def search(self, account: Account, asked: Asked, number: int = 1) -> dict[str, Any]:
        """One page of what an account finds: `rows`, how many there are in all, and how many leaves are not listed yet."""
        behind = self._searching.catch_up(FEW)
        total, found = self._searching.find(asked, partial(self._may, account), ROWS, (max(1, number) - 1) * ROWS)
        last = max(1, -(-total // ROWS))
        if number > last:
            return self.search(account, asked, last)
        rows = [row for place, shelf in found if (row := self._row(account, place, shelf)) is not None]
        self._note_list(account, rows, total)
        return {"rows": rows, "total": total, "number": max(1, number), "last": last, "behind": behind}

    def _row(self, account: Account, number: int, shelf: Shelf) -> dict[str, Any] | None:
        seen = self._cut(account, self._held(number))
        kind = self._kinds.get(shelf.kind)
        if seen is None:  # Erased since it was found.
            return None
        search = kind.search if kind else {}
        fields, shown = seen.fields, set[str]()

        def first(names: Sequence[str], *, masked: bool = False) -> tuple[str, str] | None:
            for name in names:
                assert kind is not None
                for group in [*(kind.masks if masked else ()), kind.fields[name].group]:
                    if name in fields.get(group, {}):
                        shown.update({group} - {OPEN})
                        return name, str(fields[group][name])
            return None

        party, document = first(search.get("party", ()), masked=True), first(search.get("document", ()))

        agencies = [each.name for each in kind.fields.values() if each.type == "agency" and each.is_open] if kind else []
        row = {
            "kind": shelf.kind, "label": self._label(shelf.kind), "origin": shelf.origin, "name": self._name(shelf.origin),
            "id": seen.peek.id, "rev": seen.peek.rev,
            "day": next((fields[OPEN][name] for name in search.get("date", ()) if name in fields[OPEN]), seen.peek.at)[:10],
            "party": party and party[1], "document": document and document[1],
            "document_label": kind.fields[document[0]].label if kind and document else None,
            "item": next((fields[OPEN][name] for name in search.get("item", ()) if name in fields[OPEN]), None),
            "agency": next((fields[OPEN][name] for name in agencies if name in fields[OPEN]), None),
            # Whether there is a party that this account may not see.
            "withheld": any(self._sealed(seen, kind, name) for name in search.get("party", ())) if kind else False,
        }  # fmt: skip
        return row | {"groups": sorted(shown)}

    def _sealed(self, seen: Seen, kind: Kind, name: str) -> bool:
        """Whether the record has this field's group, and the account sees neither that nor its mask."""
        home = kind.fields[name].group
        masked = any(name in seen.fields.get(group, {}) for group in kind.masks)
        return seen.peek.sealed.get(home) is not None and home not in seen.decision.groups and not masked

    def _note_list(self, account: Account, rows: Sequence[Mapping[str, Any]], total: int) -> None:
        """One line for a page of a list, which names every record of which a sealed group is in it."""
        shown = [row for row in rows if row["groups"]]
        if shown:
            groups = {group for row in shown for group in row["groups"]}
            refs = " ".join(f"{row['kind']}:{row['origin']}:{row['id']}" for row in shown)
            self._look(account, "search", f"records {total}", groups, refs)

    # --- one record ---

    def record(
        self, account: Account, kind: str, origin: str, id: str, number: int = 1, *, check: bool = False
    ) -> dict[str, Any]:
        """A record's current revision, a page of its revisions with what each changed, and its provenance.

        NotFound where there is none or none for this account. With `check` every link is followed, and what broke is told.
        """
        behind = self._searching.catch_up(FEW)
        name, known = self._find(account, kind, origin, id)
        declared = self._kinds[name]
        if known is None:
            return {"kind": name, "label": declared.label, "origin": origin, "name": self._name(origin), "id": id,
                    "erased": True, "tombstone": self._id_of(ERASURE, f'["{origin}","{name}","{id}"]')}  # fmt: skip
        now = self._cut(account, self._held(known.number))
        if now is None:
            raise _nothing()
        gone = self._store.erased(origin, name, [id]).get(id, frozenset())
        numbers = sorted({*self._store.revisions(origin, name, id), known.number})
        last = max(1, -(-len(numbers) // ROWS))
        number = min(max(1, number), last)
        end = len(numbers) - (number - 1) * ROWS
        begin = max(0, end - ROWS)
        # One more than the page holds: what its oldest revision changed is told by the one before it.
        seen = {at: self._cut(account, self._held(numbers[at])) for at in range(max(0, begin - 1), end)}
        revisions = [
            self._step(declared, seen.get(at - 1), after) for at in reversed(range(begin, end)) if (after := seen[at])
        ]
        if shown := {group for each in [now, *seen.values()] if each for group in each.groups}:
            self._look(account, "look", f"{name} {origin} {id}", shown)
        return {
            "kind": name, "label": declared.label, "origin": origin, "name": self._name(origin), "id": id, "erased": False,
            "rev": known.rev, "op": known.op, "at": now.peek.at, "reason": now.peek.reason,
            "homes": self._homes(account, declared, now, gone), "clauses": list(now.decision.clauses),
            "revisions": revisions, "total": len(numbers), "number": number, "last": last,
            "unlisted": known.rev - len(numbers), "behind": behind,
            "provenance": self._provenance(now, check=check),
        }  # fmt: skip

    def sides(self, account: Account, refs: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
        """Records (origin, kind, id) next to each other: of each field its label and what each record says, None where it says
        nothing or this account is not shown it, and whether all that are shown say the same.

        Only records of one kind stand beside each other; each look at sealed groups is noted.
        """
        seen: list[Seen | None] = []
        for origin, name, id in refs:
            known = self._store.known(origin, name, [id]).get(id)
            now = self._cut(account, self._held(known.number)) if known else None
            if now is not None and now.groups:
                self._look(account, "look", f"{name} {origin} {id}", now.groups, "difference")
            seen.append(now)
        names = {name for _, name, _ in refs}
        kind = self._kinds.get(names.pop()) if len(names) == 1 else None
        if kind is None or not any(seen):
            return []
        rows = []
        for field in kind.fields.values():
            values = [_shown(kind, now, field.name) if now else None for now in seen]
            told = [value for value in values if value is not None]
            if told:
                texts = [None if value is None else words(kind, field, value, self._zone) for value in values]
                same = all(value == told[0] for value in told)
                rows.append({"name": field.name, "label": field.label, "texts": texts, "differs": not same})
        return rows

    def _find(self, account: Account, kind: str, origin: str, id: str) -> tuple[str, Known | None]:
        """The kind in full, and where the record stands; None for one erased as a whole."""
        for name in sorted((each for each in self._kinds if kind in (each, each.split("/")[0])), reverse=True):
            known = self._store.known(origin, name, [id]).get(id)
            if known is not None:
                return name, known
            whole = "*" in self._store.erased(origin, name, [id]).get(id, frozenset())
            if whole and self.visible(account, _Shelved(name, origin, "retract", {})).shared:
                return name, None
        raise _nothing()

    def _homes(self, account: Account, kind: Kind, now: Seen, gone: frozenset[str]) -> list[dict[str, Any]]:
        """The open fields and each group: its fields as words, or why there are none."""
        told = self._told(kind, now.fields[OPEN])
        homes: list[dict[str, Any]] = [{"home": OPEN, "label": None, "state": "shown", "why": "", "masked": False,
                                        "fields": told}]  # fmt: skip
        full = {name for group in now.groups if group not in kind.masks for name in now.fields[group]}
        for group in kind.groups:
            fields = now.fields.get(group)
            if fields is not None and group in kind.masks and fields.keys() <= full:
                continue  # What it masks is shown in full.
            state = (
                "empty" if now.peek.sealed.get(group) is None else "erased" if group in gone else "shown" if fields is not None
                else "withheld" if group not in now.decision.groups else "missing"
            )  # fmt: skip
            why = "" if state != "withheld" else "share" if account.jurisdictions else "jurisdiction"
            homes.append({"home": group, "label": kind.group_labels[group], "state": state, "why": why,
                          "masked": group in kind.masks, "fields": self._told(kind, fields or {})})  # fmt: skip
        return homes

    def _told(self, kind: Kind, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Fields in the order their kind declares, with their words."""
        return [
            {"name": name, "label": kind.fields[name].label, "text": words(kind, kind.fields[name], fields[name], self._zone)}
            for name in kind.fields if name in fields
        ]  # fmt: skip

    def _step(self, kind: Kind, before: Seen | None, after: Seen) -> dict[str, Any]:
        """A revision, and which fields it changed, as far as both it and the one before it are shown."""
        entry = self._store.entry_of(after.held.number)
        step: dict[str, Any] = {
            "rev": after.peek.rev, "op": after.peek.op, "at": after.peek.at, "reason": after.peek.reason,
            "entry": entry.index if entry else None, "compared": before is not None, "changes": [],
        }  # fmt: skip
        if before is None or after.peek.op == "retract":
            return step
        for home in (OPEN, *kind.groups):
            was, now = _fields(before, home), _fields(after, home)
            if was is None or now is None:
                continue
            for name in kind.fields:
                if was.get(name) != now.get(name) and not self._doubled(kind, after, home, name):
                    told: dict[str, Any] = {"name": name, "label": kind.fields[name].label, "home": home}
                    for side, fields in (("before", was), ("after", now)):
                        told[side] = words(kind, kind.fields[name], fields[name], self._zone) if name in fields else None
                    step["changes"].append(told)
        return step

    def _doubled(self, kind: Kind, seen: Seen, home: str, name: str) -> bool:
        return home in kind.masks and kind.fields[name].group in seen.fields

    # --- provenance ---

    def _provenance(self, now: Seen, *, check: bool) -> dict[str, Any]:
        """Source → batch → ledger → witnesses of the current revision; `checked` tells what following them gave."""
        entry = self._store.entry_of(now.held.number)
        assert entry is not None and entry.first is not None
        signed = batch.parse(self._ledger.hub, note.parse(entry.note).text)
        assert isinstance(signed, Batch)
        of_keys = self._store.find(signed.keys)
        keys = batch.parse(self._ledger.hub, note.parse(of_keys.note).text) if of_keys else None
        head = self._ledger.checkpoint()[1]
        witnessed = self._desk.witnessing.state()
        return {
            "source": {
                "name": self._name(entry.origin), "custody": keys.custody if isinstance(keys, KeyEntry) else "",
                "feeds": self._feeds(now.peek), "at": now.peek.at,
            },
            "batch": {
                "origin": entry.origin, "seq": signed.seq, "place": now.held.number - entry.first + 1, "count": signed.count,
                "root": _hex(signed.root), "leaf": merkle.leaf_hash(now.held.raw or b"").hex(), "time": signed.time,
                "keys": [key.handle for key in keys.keys] if isinstance(keys, KeyEntry) else [],
                "key_entry": of_keys.index if of_keys else None,
                "voided": self._store.chain(entry.origin).voided(signed.seq),
            },
            "ledger": {
                "entry": entry.index, "hash": merkle.leaf_hash(entry.note).hex(), "size": head.size, "root": head.root.hex(),
                "bundle": _bundle_path(entry.index, head.size),
            },
            "witnesses": witnessed | {"covered": entry.index < witnessed["size"]},
            "checked": self._check(now, entry) if check else None,
        }  # fmt: skip

    def _feeds(self, peek: Peek) -> list[dict[str, str]]:
        """The feeds that are declared to bring records of this kind and origin."""
        return [
            {"city": each.code, "feed": feed.name, "transport": feed.transport}
            for each in self._declarations.values() for feed in each.feeds
            if feed.kind == peek.kind and peek.origin in feed.origins
        ]  # fmt: skip

    def _check(self, now: Seen, entry: Entry) -> dict[str, str]:
        """Follow every link as a verifier of the evidence does; `problem` is empty where all hold."""
        bundle, trust = self._desk.bundle(entry, now.held, now.decision), self._trust()
        try:
            audit.check_evidence(bundle, trust.hub, trust.log, trust.pins.get)
        except HubError as error:
            return {"at": self._now().isoformat(), "problem": str(error)}
        return {"at": self._now().isoformat(), "problem": ""}

    def evidence(self, account: Account, kind: str, origin: str, id: str) -> dict[str, Any]:
        """The evidence bundle of the current revision, with exactly the groups this account may see; noted."""
        name, known = self._find(account, kind, origin, id)
        seen = self._cut(account, self._held(known.number)) if known else None
        entry = self._store.entry_of(known.number) if known else None
        if seen is None or entry is None:
            raise _nothing()
        self._look(account, "evidence", f"{name} {origin} {id}", seen.groups, f"rev {seen.peek.rev}")
        return self._desk.bundle(entry, seen.held, seen.decision)

    # --- words ---

    def _name(self, origin: str) -> Mapping[str, str]:
        if origin == HUB:
            return {"zh": "数据枢纽", "en": "Data hub"}
        member = self._framework().members.get(origin)
        return member.name if member else {"zh": origin, "en": origin}

    def _label(self, kind: str) -> Mapping[str, str]:
        return self._kinds[kind].label if kind in self._kinds else {"zh": kind, "en": kind}


def words(kind: Kind, field: Field, value: Any, zone: ZoneInfo) -> dict[str, str]:
    """A value as a person reads it, in both languages: codes by their words, an object by its fields, a list with commas.

    A time is told to the second in `zone`, that of the pages; its record keeps the offset its source gave.
    """
    if isinstance(value, bool):
        return {"zh": "是", "en": "yes"} if value else {"zh": "否", "en": "no"}
    if isinstance(value, list):
        told = [words(kind, field, each, zone) for each in value]
        return {lang: ("\n" if field.of else _SEP[lang]).join(each[lang] for each in told) for lang in _SEP}
    if isinstance(value, dict):
        parts = [(field.of[name], words(kind, field.of[name], each, zone)) for name, each in value.items() if name in field.of]
        return {"zh": "；".join(f"{part.label['zh']}：{text['zh']}" for part, text in parts),
                "en": "; ".join(f"{part.label['en']}: {text['en']}" for part, text in parts)}  # fmt: skip
    if field.type == "datetime":
        at = datetime.fromisoformat(value).astimezone(zone)
        return dict.fromkeys(_SEP, at.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00"))
    named = kind.codes[field.table].get(str(value)) if field.table else None
    return {"zh": f"{named['zh']}（{value}）", "en": f"{named['en']} ({value})"} if named else dict.fromkeys(_SEP, str(value))


def _shown(kind: Kind, seen: Seen, name: str) -> Any:
    """A field's value as it is shown: in full where its group is, else by a mask of it, else None."""
    homes = [kind.fields[name].group, *(group for group in kind.masks if group in seen.fields)]
    return next((seen.fields[home][name] for home in homes if name in seen.fields.get(home, {})), None)


def _fields(seen: Seen, home: str) -> Mapping[str, Any] | None:
    """The fields of one home; empty where the record has none there, None where they are not shown."""
    if home in seen.fields:
        return seen.fields[home]
    return {} if home in seen.decision.groups and seen.peek.sealed.get(home) is None else None


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _hex(text: str) -> str:
    return unb64(text, 32, "root").hex()


def _bundle_path(index: int, size: int) -> str:
    """Where an entry stands among the ledger's bundles (C2SP tlog-tiles): 256 to a bundle, the last one partial."""
    number, width = divmod(index, 256)[0], min(256, size - index // 256 * 256)
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03}")
    return f"/ledger/tile/entries/{'/'.join(groups)}{f'.p/{width}' if width < 256 else ''}"


def _nothing() -> HubError:
    return NotFound("no such record, or not for you", mend="look for it on the records page")
