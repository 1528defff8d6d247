"""A hub's process in a race for nights, to start and to kill: the other end says what time it is."""

import multiprocessing
import signal
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path

from city_parts import Clock, Town

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["city_parts"])


def race(folder: Path, pipe: Connection) -> None:
    """At each time received run what is due, night by night; answer how many nights were committed here."""
    clock = Clock(pipe.recv())
    with Town(folder, clock=clock, web=False) as town:
        pipe.send(0)
        while (at := pipe.recv()) is not None:
            clock.at = at
            pipe.send(sum(len(town.nightly.run(name, [night])) for name, night in town.nightly.due()))


class Racer:
    """One such process."""

    def __init__(self, folder: Path, at: datetime) -> None:
        self.pipe, other = _context.Pipe()
        self.process = _context.Process(target=race, args=(folder, other), daemon=True)
        self.process.start()
        other.close()
        self.pipe.send(at)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        assert self.process.exitcode in (0, -signal.SIGKILL)
        self.pipe.close()
