"""The ledger as a book to look into: how far it reaches, who witnessed and who verified it, what was entered last.

Rule. What is told is what anybody may check: each figure stands beside what it is checked by. References and codes only.
"""

from collections.abc import Callable
from typing import Any

from hub import batch, note, record
from hub.canonical import b64
from hub.evidence import TrustFile
from hub.framework import Framework
from hub.ledger import Ledger
from hub.status import verification
from hub.store.base import Store

AUDIT = "audit/1"


class Book:
    """Looks into one ledger; `witnessed` is the state of its witnessing, `trust` what a verifier believes beforehand."""

    def __init__(
        self, ledger: Ledger, witnessed: Callable[[], dict[str, Any]], trust: Callable[[], TrustFile],
        framework: Callable[[], Framework], url: str,
    ) -> None:  # fmt: skip
        self._ledger, self._witnessed, self._trust, self._framework = ledger, witnessed, trust, framework
        self._store: Store = ledger.store
        self.url = url

    def head(self) -> dict[str, Any]:
        """The published checkpoint, its witnesses, and who verified the ledger last."""
        raw, head = self._ledger.checkpoint()
        trust = self._trust()
        return {
            "hub": self._ledger.hub,
            "size": head.size,
            "root": b64(head.root),
            "checkpoint": raw.decode(),
            "key": str(trust.log),
            "pins": len(trust.pins),
            "witnessed": self._witnessed(),
            "audits": self.audits(),
        } | verification(self._store)

    def trust_file(self) -> bytes:
        """What a verifier needs beforehand, as `keys export` prints it."""
        return self._trust().dump()

    def audits(self) -> list[dict[str, Any]]:
        """What each city's own node found when it verified its copy last, newest first; only of nodes that said so."""
        found = []
        for code, member in self._framework().members.items():
            newest = max((known.number for _, known in self._store.walk(code, AUDIT) if known.op == "put"), default=None)
            if newest is None:
                continue
            (held,) = self._store.leaves(newest, 1)
            if held.raw is not None:
                found.append({"code": code, "name": dict(member.name)} | record.parse(held.raw).open)
        return sorted(found, key=lambda each: str(each["audited_on"]), reverse=True)

    def entries(self, before: int | None, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` published entries below index `before`, the newest first."""
        size = self._ledger.checkpoint()[1].size
        end = size if before is None else max(0, min(before, size))
        rows = self._store.entries(max(0, end - limit), min(limit, end))
        return [self._told(entry.index, entry.note, entry.count) for entry in reversed(rows)]

    def _told(self, index: int, raw: bytes, count: int) -> dict[str, Any]:
        entry = batch.parse(self._ledger.hub, note.parse(raw).text)
        type = "batch" if isinstance(entry, batch.Batch) else "key"
        return {"index": index, "type": type, "origin": entry.origin, "seq": entry.seq, "count": count, "time": entry.time}
