"""A small real ledger for tests: the hub's own reconciliation kind, real keys, a real store and head file."""

from pathlib import Path

from hub import batch, record
from hub.keys import KeyRing, pin_of
from hub.kinds import load_kinds
from hub.ledger import HeadFile, Ledger, LedgerSeal, Pin, Submission, leaf_hashes
from hub.store.sqlite import SqliteStore

HUB = "hub.example/ledger"
ORIGIN = "330483"
TIME = "2026-11-22T17:05:00+08:00"
PHRASE = "a passphrase for tests"
KINDS = load_kinds(Path(__file__).parents[1] / "config" / "kinds")
KIND = KINDS["framework/1"]


class Parts:
    """Keys, store and ledger under one folder; opening the same folder again resumes."""

    def __init__(self, folder: Path, make_store=SqliteStore, make_head=HeadFile):
        self.ring = KeyRing(folder / "keys", PHRASE)
        self.secrets = self.ring.secrets()
        self.genesis = self.ring.first_note(HUB, ORIGIN, "self", TIME)
        pin = Pin(pin_of(self.genesis), "self")
        self.store = make_store(folder / "hub.db", self.secrets.vault())
        seal = LedgerSeal(self.ring.create("ledger", "hub", HUB))
        self.key = self.ring.signer("ledger", "hub").vkey
        self.signers = [self.ring.signer("batch", ORIGIN)]
        self.trust = lambda origin: pin if origin == ORIGIN else None
        self.ledger = Ledger(
            self.store, make_head(folder / "head" / "checkpoint"), seal, HUB, self.trust, signs=lambda _: True
        )

    def leaf(self, n: int, rev: int = 1, text: str = "text"):
        body = {"agreement": f"a{n}", "version": rev, "in_force_on": "2022-05-01", "digest": "0" * 64, "text": text}
        id = record.record_id(bytes(32), KIND.name, str(n))
        count = iter(range(10**6))
        return record.seal(KIND, record.plain(self.secrets.digest_key, KIND, body), origin=ORIGIN, id=id, rev=rev, at=TIME,
                           salt=lambda: f"{n:06}{rev:04}{next(count):012}")  # fmt: skip

    def batch(self, leaves) -> Submission:
        chain = self.ledger.chain(ORIGIN)
        return Submission(batch.make(HUB, chain, leaf_hashes(leaves), self.signers, TIME), leaves)

    def start(self):
        self.ledger.open()
        if not self.ledger.chain(ORIGIN).keys:
            self.ledger.append([Submission(self.genesis, None)])
        return self

    def add(self, numbers, rev: int = 1):
        return self.ledger.append([self.batch([self.leaf(n, rev) for n in numbers])])
