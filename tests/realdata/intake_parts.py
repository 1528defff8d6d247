"""A hub of a few parts for real data: keys, store, ledger and intake for the origins of declared feeds."""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from adapters.declaration import Declaration, Feed
from hub import audit, record
from hub.app import LocalLedger
from hub.intake import Intake, Issuer, Outcome
from hub.keys import KeyRing, pin_of
from hub.kinds import Kind
from hub.ledger import HeadFile, Ledger, LedgerSeal, Pin, Submission
from hub.store.sqlite import SqliteStore

HUB = "hub.example/ledger"
PHRASE = "a passphrase for tests"
START = datetime(2019, 9, 1, 2, 0, tzinfo=timezone(timedelta(hours=8)))


class SmallHub:
    """Real keys, store, head file and intake under one folder; each pull is a day later than the last."""

    def __init__(self, folder: Path, kind: Kind, origins: Iterable[str]) -> None:
        self.kind, self.kinds, self.at = kind, {kind.name: kind}, START
        ring = KeyRing(folder / "keys", PHRASE)
        secrets, names = ring.secrets(), sorted(origins)
        firsts = {origin: ring.first_note(HUB, origin, "custodial", START.isoformat()) for origin in names}
        pins = {origin: Pin(pin_of(first), "custodial") for origin, first in firsts.items()}
        self.store, self.digest_key = SqliteStore(folder / "hub.db", secrets.vault()), secrets.digest_key
        seal = LedgerSeal(ring.create("ledger", "hub", HUB))
        self.key, self.trust = ring.signer("ledger", "hub").vkey, pins.get
        self.ledger = Ledger(
            self.store, HeadFile(folder / "head" / "checkpoint"), seal, HUB, self.trust, signs=lambda _: True
        )
        self.ledger.open()
        self.ledger.append([Submission(first, None) for first in firsts.values()])
        issuers = {
            origin: Issuer(
                self.ledger,
                origin,
                lambda origin=origin: [ring.signer("batch", origin)],
                secrets.id_key(origin),
                self.digest_key,
                self.now,
            )
            for origin in names
        }
        self.intake = Intake(self.ledger, self.kinds, issuers.__getitem__, self.digest_key, str, self.now)

    def now(self) -> datetime:
        return self.at

    def pull(self, declaration: Declaration, folder: Path) -> Outcome:
        """One whole read of the declaration's only feed, whose files lie in `folder`."""
        self.at += timedelta(days=1)
        (feed,) = declaration.feeds
        return self.intake.run(declaration, feed, {"directory": str(folder)}, full=True, who="test")

    def trial(self, feed: Feed, folder: Path) -> dict[str, int]:
        return self.intake.trial(feed, {"directory": str(folder)})

    def view(self) -> list[tuple[str, dict[str, Any]]]:
        """Every standing record as its origin and whole body, decoded from stored bytes and disclosures."""
        return [(origin, body) for origin, _, body in self._standing()]

    def by_id(self) -> list[tuple[str, dict[str, Any]]]:
        """Every standing record as its id and whole body."""
        return [(id, body) for _, id, body in self._standing()]

    def _standing(self) -> list[tuple[str, str, dict[str, Any]]]:
        found = []
        for series in self.store.series():
            for id, known in self.store.walk(series.origin, series.kind):
                if known.op == "put":
                    (held,) = self.store.leaves(known.number, 1)
                    parsed = record.parse(held.raw or b"")
                    fields = record.reveal(parsed, held.disclosures.values())
                    found.append((parsed.origin, id, self.kind.join(parsed.open, fields)))
        return found

    def audited(self) -> tuple[audit.Report, audit.Report, list[str]]:
        """What fsck and verify report, and the views that a rebuild changed."""
        checked = audit.fsck(self.ledger, self.kinds, self.digest_key)
        verified = audit.verify(LocalLedger(self.ledger), HUB, self.key, self.trust)
        rebuilt, changed = audit.rebuild(self.ledger, self.kinds, self.digest_key)
        assert rebuilt.root == verified.root == checked.root
        return checked, verified, changed
