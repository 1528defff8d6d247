"""Workers give what the same functions give here, are replaced when they die, and end with their parent."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import psutil
import pytest

from adapters.sample import generator
from hub import record
from hub.canonical import unb64url
from hub.kinds import load_kinds
from hub.workshop import FEW, Workshop, prepare, salts

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config" / "kinds"
KINDS = load_kinds(FOLDER)
KIND = KINDS["inspection/1"]
KEY = bytes(range(32))
TAKEN = ["case/1", "inspection/1"]


def bodies(count):
    random, where = generator.seeded("workshop"), generator.place("330483")
    parties = generator.parties(random, where, 20)
    return [generator.inspection(random, where, random.choice(parties), n, date(2026, 11, 1)) for n in range(count)]


def pushed(count):
    draw, records = salts(), []
    for n, body in enumerate(bodies(count)):
        id = record.record_id(KEY, KIND.name, str(n))
        leaf = record.seal(KIND, record.plain(KEY, KIND, body), origin="330483", id=id, rev=1,
                           at="2026-11-24T12:00:00+08:00", salt=draw)  # fmt: skip
        records.append((leaf.raw, list(leaf.disclosures.values())))
    return records


@pytest.fixture
def workshop():
    made = Workshop(FOLDER, KINDS, KEY, size=2)
    yield made
    made.close()


def local(records):
    return record.receive_all({name: KINDS[name] for name in TAKEN}, records, KEY)


def test_a_worker_receives_what_is_received_here(workshop):
    records = pushed(FEW)
    assert workshop.receive(records, TAKEN) == local(records)
    assert workshop.receive(records[:3], TAKEN) == local(records[:3]), "few are done here"


def test_a_worker_names_the_same_problems(workshop):
    records = pushed(FEW)
    records[7] = (records[7][0], records[7][1][1:])
    records[9] = (records[9][0].replace(b'"rev":1', b'"rev":0'), records[9][1])
    leaves, problems = workshop.receive(records, TAKEN)
    assert (
        (leaves, problems) == local(records)
        and leaves == []
        and [p.where.split(".")[1] for p in problems] == ["7", "9"]
    )


def test_kinds_not_taken_are_refused_by_a_worker_too(workshop):
    _, problems = workshop.receive(pushed(FEW), ["case/1"])
    assert problems and all(each.where.endswith(".kind") for each in problems[:-1])


def test_a_worker_prepares_what_is_prepared_here(workshop):
    given = bodies(FEW)
    given[3] = given[3] | {"region_code": "not a region"}
    wanted, found = prepare(KIND, KEY, given), workshop.prepare(KIND.name, given).result()
    assert wanted[3][0].where == "region_code" and isinstance(wanted[4], record.Plain)
    assert [each._replace(sealed=None) if isinstance(each, record.Plain) else each for each in found] == wanted
    # The groups came sealed: each disclosure fits its digest, and every salt is another.
    place = {"origin": "330483", "id": record.record_id(KEY, KIND.name, "1"), "rev": 1, "at": "2026-11-22T17:05:00+08:00"}
    salts_met = set()
    for content, body in zip(found, given, strict=True):
        if isinstance(content, record.Plain):
            leaf = record.seal(KIND, content, **place, salt=salts())
            fields, texts = record.reveal(record.parse(leaf.raw), leaf.disclosures.values())
            assert KIND.join(record.parse(leaf.raw).open, fields) == body and texts == leaf.disclosures
            salts_met |= {unb64url(text.encode())[2:24] for text in texts.values()}
    assert len(salts_met) == sum(len(each.sealed[1]) for each in found if isinstance(each, record.Plain))


def test_a_worker_that_died_is_replaced_and_nothing_is_lost(workshop):
    records = pushed(FEW)
    for _ in range(3):
        assert workshop.receive(records, TAKEN) == local(records)
        for child in psutil.Process().children():
            if "hub.workshop" in child.cmdline():
                child.kill()


def test_many_threads_share_the_workers(workshop):
    records, results = pushed(FEW), []
    threads = [threading.Thread(target=lambda: results.append(workshop.receive(records, TAKEN))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [local(records)] * 6


def test_workers_end_with_a_parent_that_was_killed():
    script = (
        "import sys, time; from pathlib import Path; from hub.kinds import load_kinds; from hub.workshop import Workshop\n"
        f"folder = Path({str(FOLDER)!r}); w = Workshop(folder, load_kinds(folder), bytes(32), size=1)\n"
        "w._ask(('prepare', 'case/1', []))\nprint(w._idle.get()._process.pid, flush=True)\nsys.stdin.read()"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.wait(timeout=20)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_without_workers_everything_is_done_here():
    alone = Workshop(FOLDER, KINDS, KEY, size=0)
    records = pushed(FEW)
    assert alone.receive(records, TAKEN) == local(records)
    assert alone.prepare(KIND.name, bodies(2)).result() == prepare(KIND, KEY, bodies(2))
    alone.close()
