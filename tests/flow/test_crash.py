"""SIGKILL at random moments, of the hub while a partner pushes and of a partner's own commands.

Nothing acknowledged is lost, nothing is half there, and the same command goes on.

A parent process loads everything once and forks a child for each attempt; the listening socket outlives the
hubs, so that a partner who calls between two of them waits. Only a kill's moment is waited for by the clock.
CROSSREGION_FULL=1 kills 200 times, otherwise 12.
"""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from hub_parts import KINDS, Rig, bodies, rig

from adapters.sample.generator import write_huzhou_year
from hub import audit, desk, merkle
from hub.errors import Unreachable
from hub.note import parse_vkey

FULL = bool(os.environ.get("CROSSREGION_FULL"))
KILLS = 200 if FULL else 12
A, C = "330483", "330503"
TESTS = Path(__file__).parents[1]

# Reads an attempt as a line of JSON, answers its pid, "up" when work begins and, asked by a line, how it
# ended. It is asked only after the kill: until then the pid is no other process's.
PARENT = """
import json, os, signal, socket, sys, traceback
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from hub_parts import Rig, bodies, settings, ROOT
from hub import app
from hub.intake import Intake
from adapters import declaration
settings()

def hub(made):
    made.open()
    print("up", flush=True)
    signal.pause()

def pull(made):
    print("up", flush=True)
    made.nodes["330503"].pull()

def push(made):
    print("up", flush=True)
    made.nodes["330483"].push()

def collect(made):
    node = made.nodes["330500"]
    given = declaration.load(Path({tests!r}).parent / "adapters" / "sample" / "huzhou_year.yaml")
    intake = Intake(node.own, node.kinds, node.issuer, node.digest_key, str, made.clock)
    print("up", flush=True)
    for feed in given.feeds:
        outcome = intake.run(given, feed, {{"directory": str(made.folder / "year")}}, full=True, who="test")
        assert outcome.pull.state == "succeeded", outcome.pull

def attempt(what, folder, port, selves, pullers, nodes):
    members = {{"selves": tuple(selves), "pullers": tuple(pullers)}}
    made = Rig(Path(folder), serve=False, bound=socket.socket(fileno=port), nodes=nodes, **members)
    globals()[what](made)

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        try:
            attempt(**json.loads(line))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            print("failed", flush=True)
            os._exit(1)
    print(pid, flush=True)
    sys.stdin.readline()
    _, status = os.waitpid(pid, 0)
    print("ended", os.waitstatus_to_exitcode(status), flush=True)
"""


class Forks:
    """Starts children over one Rig's folder and kills them."""

    def __init__(self, made: Rig) -> None:
        script = PARENT.format(root=str(TESTS.parent), tests=str(TESTS))
        self.made, self.port, self.pid = made, made.bound.fileno(), 0
        self.parent = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[self.port],
        )

    def start(self, what: str, nodes: list[str]) -> int:
        made = self.made
        pullers = [code for code in made.made if code not in made.selves]
        line = {"what": what, "folder": str(made.folder), "port": self.port, "nodes": nodes}
        line |= {"selves": made.selves, "pullers": pullers}
        self.parent.stdin.write(json.dumps(line) + "\n")
        self.parent.stdin.flush()
        self.pid = int(self.read())
        return self.pid

    def read(self) -> str:
        return self.parent.stdout.readline().strip()

    def killed_at_random(self, what: str, draw: random.Random, longest: float, nodes: list[str] | None = None) -> int:
        """Start, wait a random while, mostly from when it is up, kill; gives how it ended."""
        pid = self.start(what, nodes or [])
        up = draw.random() < 0.8 and self.read()
        ended = threading.Event()
        ended.wait(draw.uniform(0, longest))
        assert up in (False, "up")
        os.kill(pid, signal.SIGKILL)
        return self.end()

    def end(self) -> int:
        self.parent.stdin.write("\n")
        self.parent.stdin.flush()
        while not (line := self.read()).startswith("ended"):
            assert line == "up"
        self.pid = 0
        return int(line.split()[1])

    def whole(self, what: str, nodes: list[str]) -> None:
        """Start and let it finish."""
        self.start(what, nodes)
        assert self.end() == 0

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self.parent.stdin.close()
        self.parent.stdout.close()
        self.parent.wait()


@contextmanager
def forks(made):
    running = Forks(made)
    try:
        yield running
    finally:
        running.close()


def sound(ledger, digest_key):
    report = audit.fsck(ledger, KINDS, digest_key)
    assert report.problems == [], report.problems


class Pusher(threading.Thread):
    """A city that signs and pushes without end, goes on by itself, and keeps each receipt outside the hub."""

    def __init__(self, made: Rig) -> None:
        super().__init__(name="pusher", daemon=True)
        self.made, self.node, self.stopped = made, made.nodes[A], threading.Event()
        self.signed = threading.Event()
        self.receipts: list[tuple[bytes, bytes]] = []
        self.refused: BaseException | None = None
        self.broken = 0
        keep = self.node._check_receipt

        def check(entry, body):
            keep(entry, body)
            self.receipts.append((entry.note, body))

        self.node._check_receipt = check

    def sign(self, number: int) -> None:
        found = bodies("inspection/1", A, 3, seed=f"{number}-")
        if number > 3:
            found |= {f"{number - 3}-1": bodies("inspection/1", A, 1, seed=f"changed {number}")[f"changed {number}1"]}
        self.made.put(A, "inspection/1", found)

    def run(self) -> None:
        # Signed ahead: while hubs come and go, pushing is all that is done.
        numbers = iter(range(1, 10**6))
        try:
            while not self.stopped.is_set():
                for number in itertools.islice(numbers, 50):
                    self.sign(number)
                self.signed.set()
                self.push()
        except BaseException as error:
            self.refused = error
            self.signed.set()

    def push(self) -> None:
        while True:
            try:
                self.node.push()
                return
            except Unreachable:
                self.broken += 1


def test_a_hub_killed_at_random_loses_nothing_acknowledged(tmp_path):
    draw, began = random.Random(1), time.monotonic()
    with rig(tmp_path, selves=(A,), pullers=(C,), serve=False) as made, forks(made) as running:
        pusher = Pusher(made)
        pusher.start()
        pusher.signed.wait()
        for n in range(KILLS):
            assert running.killed_at_random("hub", draw, 0.3) == -signal.SIGKILL
            if n % (10 if FULL else 4) == 3:
                hub = made.compose()
                sound(hub.ledger, hub.digest_key)
                hub.close()
        made.open()
        pusher.stopped.set()
        pusher.join()
        if pusher.refused:
            raise pusher.refused
        seconds = time.monotonic() - began
        store, key = made.hub.store, parse_vkey(made.card.ledger)
        for note, body in pusher.receipts:
            index, _ = audit.check_proof(json.loads(body)["receipt"].encode(), merkle.leaf_hash(note), key)
            assert store.entry(index).note == note
        own = made.nodes[A].own_store
        assert [x.note for x in own.entries(0, 10**6)] == [x.note for x in store.entries(0, 10**6) if x.origin == A]
        sound(made.hub.ledger, made.hub.digest_key)
        made.nodes[C].pull()
        assert made.nodes[C].copy.checkpoint() == made.hub.ledger.checkpoint()
        assert pusher.broken and len({note for note, _ in pusher.receipts}) == own.size()
        told = f"{len(pusher.receipts)} batches acknowledged, {pusher.broken} calls broken"
        print(f"{KILLS} kills, {told}, {seconds:.0f} s")


def test_a_pull_killed_at_random_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(desk, "PAGE_ENTRIES", 7)
    draw = random.Random(2)
    with rig(tmp_path, pullers=(C,)) as made, forks(made) as running:
        for n in range(20):
            for code in ("330400", A):
                made.put(code, "inspection/1", bodies("inspection/1", code, 4, seed=str(n)))
        made.nodes[A].push()
        made.nodes.pop(C).close()
        ends, sizes = [], set()
        for _ in range(KILLS // 2):
            ends.append(running.killed_at_random("pull", draw, 0.3, [C]))
            node = made.node(C)
            sound(node.copy, node.digest_key)
            sizes.add(node.copy_store.size())
            made.nodes.pop(C).close()
            if max(sizes) == made.hub.store.size():
                sizes.clear()
                for part in ("copy", "copy-head"):
                    shutil.rmtree(made.folder / C / part)
        running.whole("pull", [C])
        node = made.node(C)
        assert node.copy.checkpoint() == made.hub.ledger.checkpoint() and -signal.SIGKILL in ends
        sound(node.copy, node.digest_key)


def test_a_collect_killed_at_random_signs_each_record_once(tmp_path):
    draw, code, rows = random.Random(3), "330500", 2_000
    with rig(tmp_path, selves=(code,), pullers=()) as made, forks(made) as running:
        (tmp_path / "year").mkdir()
        write_huzhou_year(tmp_path / "year" / "year.csv", rows)
        made.nodes.pop(code).close()
        ends = [running.killed_at_random("collect", draw, 0.8, [code]) for _ in range(KILLS // 3)]
        running.whole("collect", [code])
        assert -signal.SIGKILL in ends
        node = made.node(code)
        sound(node.own, node.digest_key)
        (series,) = node.own_store.series()
        assert series.standing == rows == sum(entry.count for entry in node.own_store.entries(0, 999))
        node.push()
        sound(made.hub.ledger, made.hub.digest_key)
        assert made.hub.ledger.chain(code) == node.own.chain(code)
