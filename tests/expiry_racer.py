"""A hub's process that erases by schedule, to start, to hold and to kill at a named moment."""

import multiprocessing
import os
import signal
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path

from city_parts import Clock, Town

from hub import erasure
from hub.errors import Fenced

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["city_parts"])


def die(*_: object) -> None:
    """The machine goes down."""
    os.kill(os.getpid(), signal.SIGKILL)


def run(folder: Path, at: datetime, moment: str, size: int, pipe: Connection) -> None:
    """Erase what is due in parts of `size`; at the moment named hold until told to go on, or die.

    Moments: `listed` (what is due is known, nothing is done), `second` (one part is done), `scrub`, `noted`.
    """
    erasure.BATCH_RECORDS = size
    with Town(folder, clock=Clock(at), web=False) as town:
        erasures, carry_out, parts = town.hub.erasures, town.hub.erasures._carry_out, 0

        def carried(*args: object) -> object:
            nonlocal parts
            parts += 1
            if moment == "listed" and parts == 1:
                pipe.send("listed")
                pipe.recv()
            if moment == "second" and parts == 2:
                die()
            return carry_out(*args)

        erasures._carry_out = carried
        if moment == "scrub":
            erasure.scrub = die
        if moment == "noted":
            put = town.store.put
            town.store.put = lambda key, value: die() if key == erasure.EXPIRED else put(key, value)
        try:
            erasures.expire_daily()
            pipe.send("done")
        except Fenced:
            pipe.send("fenced")


class Expirer:
    """One such process."""

    def __init__(self, folder: Path, at: datetime, moment: str, size: int) -> None:
        self.pipe, other = _context.Pipe()
        self.process = _context.Process(target=run, args=(folder, at, moment, size, other), daemon=True)
        self.process.start()
        other.close()
