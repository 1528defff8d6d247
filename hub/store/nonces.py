"""The nonces that signed requests have spent, in a file of their own: no request waits for somebody else's append.

Rule 1. A nonce is durable before its request counts, whatever dies afterwards.
Rule 2. A file that begins beside a ledger that does not (after a restore, or where it was lost) says since when it knows:
what was signed before may have been spent, and is refused.
"""

import threading
from pathlib import Path

from hub.store import engine


class NonceFile:
    """Spent nonces, `each` at most of one key; safe for many threads and processes."""

    def __init__(self, path: Path, each: int, since: int = 0) -> None:
        """`since` is the Unix second from which on a file that is not there yet knows what was spent."""
        self._each, self._lock = each, threading.Lock()
        what = "cannot be opened: damaged, or no file of spent nonces"
        with engine.opening(path, what, "move it aside: a new one is made, and requests signed before that are refused"):
            self._db = engine.connect(path, page=4096)
            with self._lock, self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute("CREATE TABLE IF NOT EXISTS known(since INTEGER NOT NULL)")
                self._db.execute("INSERT INTO known SELECT ? WHERE NOT EXISTS(SELECT 1 FROM known)", (since,))
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS nonce(keyid TEXT, nonce TEXT, until INTEGER NOT NULL,"
                    " PRIMARY KEY(keyid, nonce)) WITHOUT ROWID"
                )
                self._db.execute("CREATE INDEX IF NOT EXISTS nonce_until ON nonce(until)")
        self.since = int(self._db.execute("SELECT since FROM known").fetchone()[0])

    def take(self, keyid: str, nonce: str, until: int, now: int) -> bool:
        """Keep a nonce until a Unix second; False where seen, or where the key holds too many live ones."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM nonce WHERE until < ?", (now,))
            (held,) = self._db.execute("SELECT count(*) FROM nonce WHERE keyid = ?", (keyid,)).fetchone()
            # Full: refuse and keep every live nonce; a quota per key so that one partner cannot block the rest.
            if held >= self._each:
                return False
            return bool(self._db.execute("INSERT OR IGNORE INTO nonce VALUES (?, ?, ?)", (keyid, nonce, until)).rowcount)

    def close(self) -> None:
        with self._lock:
            self._db.close()
