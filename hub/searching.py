"""By what records are found: leaves are listed after the fact, from what the store holds, with keyed marks of their values.

Rule 1. Of a sealed value only marks are kept: 8 bytes of an HMAC over its group, its role and the value folded, under a key
of their own. A value that a mask hides has none, and there are none of parts of a value.
Rule 2. A mark counts only where the reader may see its group: nobody finds a record by what it would not show.
Rule 3. Leaves are listed in the order of their numbers, some at a time, each step in one transaction with what it reads: an
erasure comes before it or after it, and holds. How far the list is behind is said.
"""

import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from hub import record
from hub.errors import Locked
from hub.framework import Decision, decisive
from hub.kinds import Kind
from hub.reconcile.match import folded, organisation
from hub.store.base import LISTED, Held, Listed, Shelf, Store

STEP = 1_000
OPEN = "open"
ROLES = ("number", "document", "party")
_FORM = 1
"""Of what is kept; another number makes every list anew."""


@dataclass(frozen=True)
class Asked:
    """What is looked for: words that are a number or the party of a record, and what narrows a list; days are inclusive."""

    words: str = ""
    kind: str = ""
    origin: str = ""
    item: str = ""
    since: str = ""
    until: str = ""


def folds(role: str, value: str) -> Iterator[tuple[str, str]]:
    """The forms a value is found by, each with the role it counts in; a party also by what is its own in its name."""
    if whole := folded(value):
        yield role, whole
        if role == "party":
            yield "core", organisation(value)


class Searching:
    """Lists a store's leaves and finds them; `key` makes marks that never leave the store."""

    def __init__(self, store: Store, kinds: Mapping[str, Kind], key: bytes) -> None:
        self._store, self._kinds, self._key = store, kinds, key
        declared = {name: [sorted(kind.search.items()), kind.groups] for name, kind in sorted(kinds.items())}
        self._form = sha256(json.dumps([_FORM, declared]).encode()).hexdigest()[:16]
        self._turn = threading.Lock()

    # --- listing ---

    def behind(self) -> int:
        """How many stored leaves are not listed yet."""
        return self._store.last_leaf() - (self._at() or 0)

    def _at(self) -> int | None:
        """The last leaf listed; None where nothing is, or what is was made in another form."""
        number, _, form = (self._store.get(LISTED) or "").partition(" ")
        return int(number) if form == self._form else None

    def catch_up(self, most: int | None = None, stop: Callable[[], bool] = lambda: False) -> int:
        """List what is not listed yet, `most` leaves or all; gives how many are left. Where somebody is at it, at once."""
        if self._turn.acquire(blocking=False):
            try:
                done = 0
                while (most is None or done < most) and not stop() and self._step():
                    done += STEP
            except Locked:  # A long write elsewhere: what is left is said, and comes next time.
                pass
            finally:
                self._turn.release()
        return self.behind()

    def _step(self) -> bool:
        if not self.behind():
            return False
        with self._store.transaction():
            # Read under the lock: another process may have been at it, or an erasure come between.
            at = self._at()
            if at is None:
                self._store.clear_listed()
            self._store.put_listed(self._rows(list(self._store.leaves((at or 0) + 1, STEP))))
            self._store.put(LISTED, f"{min((at or 0) + STEP, self._store.last_leaf())} {self._form}")
        return True

    def _rows(self, held: list[Held]) -> Iterator[Listed]:
        seen = [(each, record.peek(each.raw)) for each in held if each.raw is not None]
        ids: dict[tuple[str, str], list[str]] = {}
        for _, peek in seen:
            ids.setdefault((peek.origin, peek.kind), []).append(peek.id)
        known = {place: self._store.known(*place, each) for place, each in ids.items()}
        for each, peek in seen:
            now = known[peek.origin, peek.kind].get(peek.id)
            stands = now is not None and now.number == each.number and peek.op == "put"
            search = kind.search if (kind := self._kinds.get(peek.kind)) else {}
            day, item = (
                next((peek.open[name] for name in search.get(role, ()) if name in peek.open), "") for role in ("date", "item")
            )
            yield Listed(
                each.number, peek.origin, peek.kind, peek.id,
                json.dumps(decisive(peek.origin, peek.open), sort_keys=True), (day or peek.at)[:10], item, stands,
                tuple(self._marks_of(kind, each, peek)) if kind and stands else (),
            )  # fmt: skip

    def _marks_of(self, kind: Kind, held: Held, peek: record.Peek) -> Iterator[tuple[int, str]]:
        opened = {group: record.disclosed(text) for group, text in held.disclosures.items()} | {OPEN: peek.open}
        for role in ROLES:
            for name in kind.search.get(role, ()):
                for group in (kind.fields[name].group, *kind.masks):
                    value = opened.get(group, {}).get(name)
                    if value is not None and not (group in kind.masks and "*" in value):
                        yield from ((self._mark(group, *form), group) for form in folds(role, value))

    def _mark(self, group: str, role: str, value: str) -> int:
        mac = hmac.digest(self._key, f"{group}\0{role}\0{value}".encode(), "sha256")
        return int.from_bytes(mac[:8], "big", signed=True)

    # --- finding ---

    def find(
        self, asked: Asked, may: Callable[[Shelf], Decision], limit: int, skip: int = 0
    ) -> tuple[int, list[tuple[int, Shelf]]]:
        """How many standing records fit what a reader asks, and some of them, newest day first; `may` says what it sees."""
        shelves = {each.number: each for each in self._store.shelves() if asked.kind in ("", each.kind)
                   and asked.origin in ("", each.origin)}  # fmt: skip
        decided = {number: decision for number, each in shelves.items() if (decision := may(each)).shared}
        marks = self._sought(asked.words, decided) if asked.words.strip() else None
        total, found = self._store.listed(
            decided, limit, skip, marks=marks, item=asked.item, since=asked.since, until=asked.until
        )
        return total, [(number, shelves[shelf]) for number, shelf in found]

    def _sought(self, words: str, decided: Mapping[int, Decision]) -> dict[int, list[int]]:
        """The marks that words may have left, each with the shelves where this reader may see its group."""
        groups = {OPEN, *(group for decision in decided.values() for group in decision.groups)}
        forms = {form for role in ROLES for form in folds(role, words)}
        return {
            self._mark(group, *form): [number for number, each in decided.items() if group in each.groups or group == OPEN]
            for group in groups for form in forms
        }  # fmt: skip
