"""The hub's side of witnessing: which checkpoint the witnesses are asked to cosign, and what they gave.

Rule 1. One checkpoint is asked for until a quorum has cosigned it or it has waited long enough: a ledger that grows all day
would otherwise never have the same size at two witnesses. Rule 2. A witness that is away stops nothing; since when the
ledger is unwitnessed is said everywhere. Rule 3. Only lines that hold under the framework's policy count, each time anew.
"""

import json
from collections.abc import Callable, Container
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from hub import batch, merkle, note
from hub.canonical import b64
from hub.errors import HubError, KeyRefused, RecordError, Tampered
from hub.ledger import HALTED, Ledger
from hub.note import Checkpoint
from hub.witness import Ask, Forked, Policy, fork_of

PATIENCE = timedelta(hours=6)
SKEW = 300
_TARGET, _CLAIM = "asked of witnesses", "halted by the word of"


class Poster(Protocol):
    """Takes an add-checkpoint to a witness's address: the HTTP status and the body."""

    def __call__(self, url: str, body: bytes) -> tuple[int, bytes]: ...


class Witnessed(NamedTuple):
    """The newest checkpoint that a quorum cosigned: the note with their lines, and who they are."""

    raw: bytes
    checkpoint: Checkpoint
    by: tuple[str, ...]


class Witnessing:
    """Asks, takes and counts cosignatures; `policy` is the framework's at that moment."""

    def __init__(self, ledger: Ledger, policy: Callable[[], Policy | None], now: Callable[[], datetime]) -> None:
        self._ledger, self._store, self._policy, self._now = ledger, ledger.store, policy, now

    def target(self) -> bytes:
        """The checkpoint that is asked for now, a signed note."""
        raw, head = self._ledger.checkpoint()
        asked = self._asked()
        if asked is not None:
            sealed = self._ledger.seal.read(asked[0])
            reached = self.witnessed()
            waiting = reached is None or reached.checkpoint.size < sealed.size
            if sealed.size == head.size or (waiting and self._now() < asked[1] + PATIENCE):
                return asked[0]
        with self._store.transaction():
            self._store.put(_TARGET, json.dumps({"note": raw.decode(), "at": self._now().isoformat()}))
        return raw

    def _asked(self) -> tuple[bytes, datetime] | None:
        plain = json.loads(self._store.get(_TARGET) or "null")
        return (plain["note"].encode(), datetime.fromisoformat(plain["at"])) if plain else None

    def take(self, raw: bytes, by: str | None = None) -> dict[str, Any]:
        """Keep the cosignatures of a note; KeyRefused where none is of a witness (with `by`: of that one).

        Forked where the note shows this ledger's own key under another tree of a size it has.
        """
        parsed = note.parse(raw)
        stated = note.parse_checkpoint(parsed.text, self._ledger.seal.name)
        head = self._ledger.checkpoint()[1]
        if stated.size > head.size:
            self._halt_if_ours(raw, f"{by or 'a witness'} holds this ledger's signed checkpoint of {stated.size} entries, and "
                               f"{head.size} are here: an older copy was restored")  # fmt: skip
            raise RecordError(f"{stated.size} entries where {head.size} are published", where="checkpoint")
        mine = Checkpoint(stated.origin, stated.size, merkle.root(self._store.tile, stated.size))
        if stated != mine:
            self._refuse_other_tree(raw, mine)
        policy = self._policy()
        if policy is None:
            raise KeyRefused("no witness is declared", mend="declare witnesses: in framework.yaml")
        found = {name: at for name, at in policy.signed_by(parsed).items() if by in (None, name)}
        if not found:
            raise KeyRefused("no cosignature of a witness that the framework names", where=by or "note",
                             mend="compare the witness's vkey with framework.yaml")  # fmt: skip
        if max(found.values()) > self._now().timestamp() + SKEW:
            raise KeyRefused("a cosignature of a time to come", where="note", mend="check the witness's clock")
        keys = {(each.vkey.name, each.vkey.id): each.name for each in policy.witnesses}
        with self._store.transaction():
            for line in parsed.lines:
                name = keys.get((line.name, line.id))
                if name in found:
                    text = f"— {line.name} {b64(line.id + line.signature)}\n"
                    self._store.put_cosignature(stated.size, name, text)
            if (reached := self.witnessed()) is not None:
                self._store.drop_cosignatures(reached.checkpoint.size)
        return self.state()

    def _halt_if_ours(self, raw: bytes, why: str) -> None:
        """Stop signing where a checkpoint that this ledger's key signed contradicts what is here."""
        try:
            self._ledger.seal.read(raw)
        except HubError:
            return
        self._ledger.halt(why)
        raise Tampered(why, mend="nothing more is signed here; see docs/operations.md")

    def _refuse_other_tree(self, raw: bytes, mine: Checkpoint) -> None:
        """A checkpoint of another tree: proof against this hub where its own key signed it, worth nothing otherwise."""
        try:
            self._ledger.seal.read(raw)
        except HubError:
            raise KeyRefused("a checkpoint of another tree, not signed by this ledger", where="checkpoint") from None
        own = self._ledger.seal.make(mine, self._store.tile)
        what = f"this ledger's key signed two trees of {mine.size} entries"
        self._ledger.halt(what)
        raise Forked(what, fork_of(self._ledger.hub, raw, own))

    def witnessed(self) -> Witnessed | None:
        """The newest checkpoint with a quorum of cosignatures that hold under the policy of now."""
        policy = self._policy()
        if policy is None:
            return None
        by_size: dict[int, list[str]] = {}
        for size, _, line in self._store.cosignatures():
            by_size.setdefault(size, []).append(line)
        for size, lines in by_size.items():
            if len(lines) < policy.quorum:
                continue
            checkpoint = Checkpoint(self._ledger.seal.name, size, merkle.root(self._store.tile, size))
            # The same text signed again gives the same bytes: nothing new is stated.
            raw = self._ledger.seal.make(checkpoint, self._store.tile) + "".join(lines).encode()
            try:
                names = policy.signed_by(note.parse(raw))
            except HubError as error:
                raise Tampered("a stored cosignature does not hold", where="store", mend="run fsck") from error
            if len(names) >= policy.quorum:
                return Witnessed(raw, checkpoint, tuple(sorted(names)))
        return None

    def best(self, index: int) -> tuple[bytes, Checkpoint]:
        """The checkpoint to prove an entry under: the newest with a quorum where it holds the entry, else the published one."""
        reached = self.witnessed()
        if reached is not None and index < reached.checkpoint.size:
            return reached.raw, reached.checkpoint
        return self._ledger.checkpoint()

    def state(self) -> dict[str, Any]:
        """How far the ledger is witnessed: size, by whom, the quorum, and since when it is not."""
        policy, reached, head = self._policy(), self.witnessed(), self._ledger.checkpoint()[1]
        size = reached.checkpoint.size if reached else 0
        newest: dict[str, int] = {}
        for at, name, _ in self._store.cosignatures():
            newest.setdefault(name, at)
        return {
            "quorum": policy.quorum if policy else 0,
            "size": size,
            "by": list(reached.by) if reached else [],
            "since": self._since(size) if size < head.size else None,
            "witnesses": [
                {"name": each.name, "size": newest.get(each.name, 0)} for each in (policy.witnesses if policy else ())
            ],
        }

    def _since(self, size: int) -> str | None:
        """The stated time of the first entry that no quorum has seen."""
        first = self._store.entry(size)
        return batch.parse(self._ledger.hub, note.parse(first.note).text).time if first else None

    def compare(self, post: Poster) -> list[str]:
        """Before the first signature after a start: do the witnesses hold more, or another tree, than is here?

        Tampered where one does; gives a line for each that did not answer: their absence stops nothing.
        """
        policy, problems = self._policy(), []
        raw, head = self._ledger.checkpoint()
        self._lift({each.name for each in policy.witnesses} if policy else set())
        for each in policy.witnesses if policy else ():
            if not each.url:
                continue
            try:
                status, body = post(each.url.rstrip("/") + "/add-checkpoint", Ask(head.size, (), raw).body())
            except HubError as error:
                problems.append(f"witness {each.name}: {error.what}")
                continue
            if status == 200:
                continue
            try:
                held = note.number(body.decode("ascii", "replace").strip()) if status == 409 else -1
            except RecordError:
                held = -1
            if held < 0:
                problems.append(f"witness {each.name}: it answered {status}, and no size")
            elif held >= head.size:
                what = "another tree" if held == head.size else f"{held} entries"
                why = f"witness {each.name} cosigned {what} of this ledger, and {head.size} entries are here"
                self._ledger.halt(why)
                with self._store.transaction():
                    self._store.put(_CLAIM, json.dumps([each.name, why]))
                raise Tampered(why, mend="an older copy was restored, or a second hub runs; see docs/operations.md")
        return problems

    def _lift(self, named: Container[str]) -> None:
        """End a halt that rests on a witness's unsigned word once the framework names that witness no more."""
        name, why = json.loads(self._store.get(_CLAIM) or '["", ""]')
        if name and name not in named:
            with self._store.transaction():
                self._store.put(_CLAIM, "")
                if self._store.get(HALTED) == why:  # and not on what was proven since
                    self._store.put(HALTED, "")

    def ask(self, post: Poster) -> list[str]:
        """Take the checkpoint to every witness with an address; gives a line for each that did not cosign.

        A witness that holds another size says so and is asked once more from there.
        """
        policy, problems = self._policy(), []
        for each in policy.witnesses if policy else ():
            if each.url:
                try:
                    self._ask_one(each.name, each.url.rstrip("/") + "/add-checkpoint", post)
                except Forked:
                    raise
                except HubError as error:
                    problems.append(f"witness {each.name}: {error.what}")
        return problems

    def _ask_one(self, name: str, url: str, post: Poster) -> None:
        raw = self.target()
        asked = self._ledger.seal.read(raw)
        if any(size == asked.size and who == name for size, who, _ in self._store.cosignatures()):
            return
        old = next((size for size, who, _ in self._store.cosignatures() if who == name), 0)
        for _ in range(2):
            proof = merkle.consistency(self._store.tile, old, asked.size) if 0 < old < asked.size else []
            status, body = post(url, Ask(old, tuple(proof), raw).body())
            if status == 200:
                self.take(raw + body, name)
                return
            held = body.decode("ascii", "replace").strip()
            if status != 409 or not held.isdigit():
                raise RecordError(f"it answered {status}", where=url)
            old = note.number(held, "size of the witness")
            if old > asked.size:
                raise RecordError(f"it holds {old} entries where {asked.size} are asked for", where=url)
        raise RecordError("it keeps naming another size", where=url)
