"""One jurisdiction whole: how it stands, its runs, what was set aside, its keys, how it is read; and what a coordinator may do.

Rule 1. An account finds the members of its own agreements; any other and an unknown one give the same answer.
Rule 2. Of a row set aside only the shape of the value at fault is told, and the columns that its declaration names.
Rule 3. A declaration is shown as it was read, so that what is shown is what is in force; a secret in it is a reference.
Rule 4. What is started or stopped here is in the journal, with the account.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

import msgspec

from adapters.base import FAULT
from adapters.declaration import Declaration, Feed
from adapters.mapping import columns_of
from hub import batch, note
from hub.accounts import Accounts, sees
from hub.batch import KeyEntry
from hub.desk import PUSH
from hub.errors import HubError, NotFound
from hub.framework import Framework, Member
from hub.freshness import Sources
from hub.keys import KeyEnd
from hub.kinds.masks import mask_shape
from hub.note import PRIVATE, VKey
from hub.pauses import REASONS, Pauses
from hub.pulls import Pulls
from hub.status import Status
from hub.store.base import Account, Pull, Quarantined, Store
from hub.wire import HttpKey

RUNS = 30


class Jurisdictions:
    """The jurisdictions of one hub, for those who may see them."""

    def __init__(
        self, store: Store, hub: str, framework: Callable[[], Framework], status: Status,
        declarations: Mapping[str, Declaration], feeds: Sources, pulled: Callable[[], Iterable[Declaration]], pulls: Pulls,
        pauses: Pauses, accounts: Accounts, revoked: Callable[[], Mapping[str, tuple[str, str]]],
        ends: Callable[[], list[KeyEnd]], today: Callable[[], date],
    ) -> None:  # fmt: skip
        """`feeds` says which feeds write each jurisdiction's records, `pulled` which declarations the hub itself reads.

        `revoked` gives by key id when an HTTP key was refused and why, `ends` when keys are to be replaced; `hub` is the name
        in every entry.
        """
        self._store, self._hub, self._framework, self._status = store, hub, framework, status
        self._declarations, self._feeds, self._pulled, self._pulls = declarations, feeds, pulled, pulls
        self._pauses, self._accounts, self._revoked, self._today = pauses, accounts, revoked, today
        self._ends = ends

    def __call__(self, account: Account, code: str) -> dict[str, Any]:
        """All that is told of one member; NotFound where the account does not find it."""
        member = self._member(account, code)
        writing = self._writing(code)
        return {
            "row": self._status.jurisdiction(code, account.agreements),
            "progress": self.progress(account, code),
            "pulled": code in self._codes(),
            "read_with": [each.code for each in writing if each.code != code],
            "reasons": REASONS,
            "runs": [self._run(run) for run in self._runs(code, RUNS)],
            "quarantine": list(self._set_aside(code, writing)),
            "stays": list(self._stays(code)),
            "keys": [key | self._end(member.code, key) for key in self._keys(member)],
            "voids": [list(each) for each in self._store.chain(code).voids],
            "declarations": [self._declaration(each, code) for each in writing],
        }

    def progress(self, account: Account, code: str) -> dict[str, Any]:
        """How far a read under way in this process is, by feed, and the number of the newest run."""
        self._member(account, code)
        newest = self._runs(code, 1)
        live = next((found for each in self._writing(code) if (found := self._pulls.live(each.code))), None)
        read = live.feeds if live else {}
        feeds = [(each.code, feed.name) for each in self._writing(code) for feed in each.feeds]
        return {
            "running": live is not None,
            "who": live.who if live else None,
            "started": live.started if live else None,
            "feeds": [{"code": at, "feed": feed, "read": read.get(feed)} for at, feed in feeds],
            "last": newest[0].number if newest else 0,
            "state": newest[0].state if newest else None,
        }

    # --- what a coordinator does ---

    def sync(self, account: Account, code: str) -> None:
        """Begin to read it now; HubError where it is paused or not the hub's to read, Locked where another reads it."""
        self._member(account, code)
        declaration = next((each for each in self._pulled() if each.code == code), None)
        if declaration is None:
            raise HubError("is not read by this hub", where=code, mend="its own node collects and pushes")
        self._pulls.start(declaration, account.name)
        self._accounts.noted(account.name, "sync_started", f"jurisdiction {code}")

    def pause(self, account: Account, code: str, reason: str, until: str) -> None:
        """Read it no more for a while; see `Pauses.pause`."""
        self._member(account, code)
        self._pauses.pause(code, reason, account.name, until)

    def resume(self, account: Account, code: str) -> None:
        """Read it again; see `Pauses.resume`."""
        self._member(account, code)
        self._pauses.resume(code, account.name)

    # --- who is meant ---

    def _member(self, account: Account, code: str) -> Member:
        member = self._framework().members.get(code)
        if member is None or not sees(account, self._framework().agreements_of(code, self._today())):
            raise NotFound("no such jurisdiction, or not one of your agreements", mend="the overview lists yours")
        return member

    def _codes(self) -> set[str]:
        return {each.code for each in self._pulled()}

    def _writing(self, code: str) -> list[Declaration]:
        """The declarations that write this member's records, its own one first."""
        codes = {at for at, _ in self._feeds.get(code, ())}
        return [self._declarations[at] for at in sorted(codes, key=lambda at: (at != code, at))]

    # --- runs and rows set aside ---

    def _runs(self, code: str, limit: int) -> list[Pull]:
        # A city that took its chain over was pulled before it pushed: both are its runs.
        return self._store.runs({*self._feeds.get(code, ()), (code, PUSH)}, limit)

    def _run(self, run: Pull) -> dict[str, Any]:
        live = self._pulls.live(run.code)
        ended = datetime.fromisoformat(run.ended) if run.ended else None
        seconds = int((ended - datetime.fromisoformat(run.started)).total_seconds()) if ended else None
        # What no read of this process is at: another process's, or one that died.
        state = "unended" if run.state == "running" and not (live and run.feed in live.feeds) else run.state
        names = ("number", "code", "feed", "started", "who", "full", "read", "stored", "unchanged", "retracted", "quarantined")
        return {name: getattr(run, name) for name in (*names, "problem")} | {"seconds": seconds, "state": state}

    def _set_aside(self, code: str, writing: Iterable[Declaration]) -> Iterator[dict[str, Any]]:
        for declaration in writing:
            feeds = {feed.name: feed for feed in declaration.feeds}
            for row in self._store.quarantine(declaration.code):
                if declaration.code == code or row.origin == code:
                    yield _shown(row, feeds.get(row.feed))

    # --- agreements and keys ---

    def _stays(self, code: str) -> Iterator[dict[str, Any]]:
        today = self._today()
        for name, agreement in sorted(self._framework().agreements.items()):
            for stay in agreement.members:
                if stay.code == code:
                    yield {
                        "agreement": name, "name": dict(agreement.name), "joined": stay.joined.isoformat(),
                        "left": stay.left.isoformat() if stay.left else None, "holds": code in agreement.codes(today),
                        "hours": int(agreement.freshness.total_seconds() // 3600),
                    }  # fmt: skip

    def _keys(self, member: Member) -> Iterator[dict[str, Any]]:
        """The keys that sign its entries, those in force first, then those it calls with."""
        entries = self._store.key_entries(member.code)
        for n, entry in enumerate(reversed(entries)):
            told = batch.parse(self._hub, note.parse(entry.note).text)
            assert isinstance(told, KeyEntry)
            state = "past" if n else "current"
            yield from (_key("batch", key, state, entry=entry.index, since=told.time) for key in told.keys)
        revoked = self._revoked()
        for text in member.http_keys:
            key = HttpKey.pinned(member.code, text)
            at, reason = revoked.get(key.keyid, (None, None))
            yield _key("http", key.vkey, "revoked" if at else "current", since=at, reason=reason)

    def _end(self, code: str, key: Mapping[str, Any]) -> dict[str, Any]:
        """When a key in force is to be replaced, where a date says so."""
        handle = f"{key['name']}+{key['id']}"
        found = [each for each in self._ends() if (each.owner, each.role, each.key) == (code, key["role"], handle)]
        if not found or key["state"] != "current":
            return {"expires": None, "days_left": None, "end": None}
        return {"expires": found[0].last.isoformat(), "days_left": found[0].left, "end": found[0].state}

    # --- how it is read ---

    def _declaration(self, declaration: Declaration, code: str) -> dict[str, Any]:
        return {
            "code": declaration.code,
            "file": declaration.doc.path.name,
            "text": declaration.doc.text,
            "feeds": [self._feed(feed) for feed in declaration.feeds if code in feed.origins],
        }

    def _feed(self, feed: Feed) -> dict[str, Any]:
        expect = {name: str(value) for name, value in feed.expect._asdict().items() if value is not None}
        return {
            "feed": feed.name, "kind": feed.kind, "transport": feed.transport, "completeness": feed.completeness,
            "window": feed.window.days if feed.window else None, "absent": feed.absent, "key": list(feed.key),
            "expect": expect, "cursor": self._store.cursor(feed.code, feed.name),
        }  # fmt: skip


def _key(role: str, key: VKey, state: str, **more: Any) -> dict[str, Any]:
    """A key as it is listed."""
    algorithm = "SM2" if key.type == PRIVATE else "Ed25519"
    told = {"role": role, "name": key.name, "id": key.id.hex(), "algorithm": algorithm, "state": state}
    return told | {"entry": None, "since": None, "reason": None} | more


def _shown(row: Quarantined, feed: Feed | None) -> dict[str, Any]:
    """A row set aside: where and why, the declared columns it has, and the values at fault by their shape."""
    data = msgspec.json.decode(row.row)
    known = feed.plan.columns() | set(feed.plan.ignore) if feed else set()
    columns = [name for name in data if name in known]
    reason = row.reason.removeprefix(f"{row.where}: ").removeprefix(f"{row.field}: ")
    return {
        "feed": row.feed, "where": row.where, "field": row.field, "reason": reason, "first_seen": row.first_seen,
        "last_seen": row.last_seen, "columns": columns, "others": len(data.keys() - {FAULT}) - len(columns),
        "values": [(name, mask_shape(data[name])) for name in _at_fault(row.field, feed, columns)],
    }  # fmt: skip


def _at_fault(field: str, feed: Feed | None, columns: list[str]) -> list[str]:
    """The columns of a refusal, which names source columns, or fields of the kind as `a.0.b`."""
    if feed is None:
        return []
    named = [part for each in field.split(" + ") for part in each.split(", ")]
    mapped = [column for name in named for column in columns_of(feed.plan.rules.get(name.split(".")[0], {}))]
    wanted = {field, *named, *mapped}
    return [name for name in columns if name in wanted]
