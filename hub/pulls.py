"""Pulls: a jurisdiction read feed after feed, on schedule or because a person asks, and how far each read is.

Rule 1. A city is read by one at a time, in all threads and processes: a lock file in the data folder, which its holder's end
lets go, whatever that end was.
Rule 2. A paused city is not read.
Rule 3. What a person starts goes on in the background; a crash there leaves a run without an end, and the next read goes on
from the cursor.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.declaration import Declaration
from hub.errors import HubError, Locked
from hub.intake import Intake, Outcome, Progress, stamp

AT_ONCE = 2
_log = logging.getLogger("hub.pulls")


@dataclass(frozen=True)
class Live:
    """A read of this process: who began it and when, and the rows read so far by feed; a feed not begun yet is missing."""

    who: str
    started: str
    feeds: dict[str, int] = field(default_factory=dict)


class Pulls:
    """Reads jurisdictions one at a time each; `paused` tells of a pause in force."""

    def __init__(
        self, intake: Intake, connection: Callable[[str], Mapping[str, Any]], paused: Callable[[str], object | None],
        folder: Path, now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._intake, self._connection, self._paused, self._folder, self._now = intake, connection, paused, folder, now
        self._live: dict[str, Live] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pull")
        self._closed = False

    def close(self) -> None:
        """Begin nothing more, and finish what is under way."""
        self._closed = True
        self._threads.shutdown(wait=True)

    def live(self, code: str) -> Live | None:
        """The read under way of a declaration, if this process does it."""
        return self._live.get(code)

    @contextmanager
    def held(self, code: str, who: str, *, wait: bool = False) -> Iterator[Progress]:
        """Keep a city to oneself while reading it; gives whom to tell how far that is. Locked where another reads it."""
        handle = os.open(self._folder / f"pull.{code}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(handle, code, wait)
            live = self._live[code] = Live(who, stamp(self._now()))

            def tell(code: str, feed: str, read: int) -> None:
                live.feeds[feed] = read

            try:
                yield tell
            finally:
                del self._live[code]
        finally:
            os.close(handle)

    @staticmethod
    def _take(handle: int, code: str, wait: bool) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked("is being read just now", where=code, mend="wait for that read to end") from None

    def run(
        self, declaration: Declaration, *, who: str, full: bool = False, progress: Progress | None = None
    ) -> list[Outcome]:
        """Read every feed of one jurisdiction; HubError where it is paused, Locked where another reads it."""
        self._refuse_paused(declaration)
        with self.held(declaration.code, who) as tell:
            return self._read(declaration, who, full, both(tell, progress))

    def start(self, declaration: Declaration, who: str) -> None:
        """The same in the background, as the account `who` asks for it."""
        self._refuse_paused(declaration)
        # The city is taken here: who asks learns at once that another has it.
        holding = ExitStack()
        tell = holding.enter_context(self.held(declaration.code, who))
        try:
            self._threads.submit(self._go, holding, declaration, who, tell)
        except BaseException:
            holding.close()
            raise

    def _go(self, holding: ExitStack, declaration: Declaration, who: str, tell: Progress) -> None:
        with holding:
            if self._closed:
                return
            try:
                self._read(declaration, who, False, tell)
            except Exception as error:  # Nobody waits for it: its run says so, or stays without an end.
                _log.error("pull of %s broke off: %s", declaration.code, type(error).__name__)

    def _read(self, declaration: Declaration, who: str, full: bool, progress: Progress) -> list[Outcome]:
        connection, outcomes = self._connection(declaration.code), []
        for feed in declaration.feeds:
            progress(declaration.code, feed.name, 0)
            outcomes.append(self._intake.run(declaration, feed, connection, full=full, who=who, progress=progress))
        return outcomes

    def _refuse_paused(self, declaration: Declaration) -> None:
        if self._paused(declaration.code):
            raise HubError("is paused", where=declaration.code, mend="resume it first")


def both(one: Progress, other: Progress | None) -> Progress:
    """Tells two how far a read is."""
    if other is None:
        return one

    def tell(code: str, feed: str, read: int) -> None:
        one(code, feed, read)
        other(code, feed, read)

    return tell
