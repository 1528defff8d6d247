"""Following ledgers from outside: each new entry verified, and every view of one ledger held against the others.

A view is any signed checkpoint of the ledger, wherever it was found: another address, a witness's, a node's copy-head file.
Rule 1. Nobody has to be a member: open tiles and the ledger's key are enough. Rule 2. Two views that contradict each other are
a fork, told with the proof. Rule 3. An address that does not answer is said to be away; it is no proof of anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from hub import note
from hub.audit import Replay, Served
from hub.errors import HubError, Tampered, Unreachable
from hub.evidence import TrustFile
from hub.witness import fork_of


class Told(NamedTuple):
    """One thing seen in one round: where, `ok`, `grown`, `away` or `tampered`, and in words; `proof` shows a fork."""

    where: str
    state: str
    what: str
    proof: bytes = b""


class Ledgers:
    """Follows one ledger or more, each at several addresses: what an address first shows names the ledger it is of."""

    def __init__(self, trusts: Sequence[TrustFile], served: Mapping[str, Served]) -> None:
        # Of a single ledger all are, whatever they show: Watch says what it is.
        alone = len({trust.hub for trust in trusts}) == 1
        self._watches = {trust.hub: Watch(trust, served if alone else {}) for trust in trusts}
        self._strangers = {} if alone else dict(served)

    def round(self, views: Mapping[str, bytes] | None = None) -> Iterator[Told]:
        """One round over every ledger; an address of none is told each time."""
        for name, served in list(self._strangers.items()):
            try:
                found = self._of(served.checkpoint())
            except HubError as error:
                yield Told(name, "away", error.what)
                continue
            if found is None:
                yield Told(name, "tampered", "it serves a ledger that no trust file is of")
            else:
                found.follow(name, self._strangers.pop(name))
        of = {name: self._of(raw) for name, raw in (views or {}).items()}
        yield from (Told(name, "tampered", "a view of a ledger that no trust file is of") for name in of if of[name] is None)
        for watch in self._watches.values():
            yield from watch.round({name: raw for name, raw in (views or {}).items() if of[name] is watch})

    def _of(self, raw: bytes) -> "Watch | None":
        if len(self._watches) == 1:
            return next(iter(self._watches.values()))
        return self._watches.get(raw.split(b"\n", 1)[0].decode("utf-8", "replace"))


class Watch:
    """Follows one ledger at several addresses; `served` are these by their names."""

    def __init__(self, trust: TrustFile, served: Mapping[str, Served]) -> None:
        self._trust = trust
        self._served: dict[str, Served] = {}
        self._replays: dict[str, Replay] = {}
        self._raw: dict[str, bytes] = {}
        for name, each in served.items():
            self.follow(name, each)

    def follow(self, name: str, served: Served) -> None:
        """One more address of this ledger."""
        self._served[name] = served
        self._replays[name] = Replay(self._trust.hub, self._trust.log, self._trust.pins.get)

    def round(self, views: Mapping[str, bytes] | None = None) -> Iterator[Told]:
        """Look at each address once, then hold every view against the longest ledger followed."""
        for name, served in self._served.items():
            yield self._look(name, served)
        if not self._replays:
            return
        longest = max(self._replays, key=lambda name: self._replays[name].size)
        for name, raw in {**self._raw, **(views or {})}.items():
            if name != longest:
                told = self._compare(longest, name, raw)
                if told is not None:
                    yield told

    def _look(self, name: str, served: Served) -> Told:
        replay = self._replays[name]
        before, raw = replay.size, b""
        try:
            raw = served.checkpoint()
            checkpoint = replay.advance(_Held(served, raw))
            by = sorted(self._trust.policy.signed_by(note.parse(raw)))
        except Unreachable as error:
            return Told(name, "away", error.what)
        except Tampered as error:
            # What it showed before and shows now may be the proof.
            told = self._compare(name, name, raw)
            return Told(name, "tampered", str(error), told.proof if told else b"")
        except HubError as error:
            return Told(name, "tampered", f"what is served is no checkpoint of this ledger: {error.what}")
        self._raw[name] = raw
        witnessed = f", cosigned by {', '.join(by)}" if by else ""
        grown = checkpoint.size - before
        return Told(name, "grown" if grown else "ok", f"{checkpoint.size} entries, {grown} new, all verified{witnessed}")

    def _compare(self, longest: str, name: str, raw: bytes) -> Told | None:
        """A view against the ledger followed furthest; None where they agree."""
        replay, ours = self._replays[longest], self._raw.get(longest)
        try:
            seen = note.open_checkpoint(raw, self._trust.log)
        except HubError as error:
            return Told(name, "tampered", f"not a checkpoint of this ledger: {error.what}")
        if ours is None:
            return None
        held = note.open_checkpoint(ours, self._trust.log)
        if seen.size > held.size:
            return Told(name, "tampered", f"shows {seen.size} entries where {longest} serves {held.size}: it went back, or "
                        "keeps entries from you")  # fmt: skip
        if replay.root(seen.size) == seen.root:
            return None
        extra = () if seen.size == held.size else (replay.root(seen.size), replay.proof(seen.size, held.size))
        proof = fork_of(self._trust.hub, raw, ours, *extra)
        return Told(name, "tampered", f"{name} and {longest} were shown two trees of {seen.size} entries", proof)


class _Held:
    """A served ledger with the checkpoint that was fetched already."""

    def __init__(self, served: Served, raw: bytes) -> None:
        self._served, self._raw = served, raw

    def checkpoint(self) -> bytes:
        return self._raw

    def bundle(self, index: int, width: int) -> bytes:
        return self._served.bundle(index, width)
