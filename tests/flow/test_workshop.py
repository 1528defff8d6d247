"""Workers give what the same functions give here, are replaced when they die, and end with their parent."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import msgspec
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import declaration
from adapters.base import Row
from adapters.sample import generator
from hub import record
from hub.canonical import unb64url
from hub.errors import HubError
from hub.kinds import load_kinds
from hub.record import TOGETHER
from hub.workshop import FEW, Workshop, salts

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
        records.append((leaf.raw, leaf.line))
    return records


@pytest.fixture
def workshop():
    made = Workshop(FOLDER, KINDS, KEY, size=2)
    yield made
    made.close()


def local(records):
    return record.receive_all({name: KINDS[name] for name in TAKEN}, records)


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


def told(records, n):
    """The disclosures of a record, none where its line is spoilt already."""
    with contextlib.suppress(HubError):
        return record.texts_of(records[n][1])
    return []


def retold(records, n, change):
    """Other disclosures for a record."""
    records[n] = (records[n][0], record.line_of(change(told(records, n))))


def moved(records, n):
    """The next record's first disclosure, behind this one's own."""
    others = told(records, n + 1)
    retold(records, n, lambda texts: texts + others[:1])
    retold(records, n + 1, lambda texts: texts[1:])


def cut(records, n):
    """The seam between two records, elsewhere."""
    (raw, line), (other, behind) = records[n : n + 2]
    whole = raw + b"\n" + other
    records[n : n + 2] = [(whole[:-1], line), (whole[-1:], behind)]


def emptied(records, n):
    """Two records in the place of one, and none in the other's."""
    (raw, line), (other, behind) = records[n : n + 2]
    records[n : n + 2] = [(raw + b"\n" + other, line[:-1] + b"," + behind[1:]), (b"", b"[]")]


SPOILT = {
    "moved": moved,
    "cut": cut,
    "emptied": emptied,
    "swapped": lambda records, n: records.__setitem__(slice(n, n + 2), records[n : n + 2][::-1]),
    "other texts": lambda records, n: records.__setitem__(n, (records[n][0], records[n + 1][1])),
    "turned": lambda records, n: retold(records, n, lambda texts: texts[::-1]),
    "twice": lambda records, n: retold(records, n, lambda texts: texts + texts[:1]),
    "none": lambda records, n: retold(records, n, lambda texts: []),
    "no list": lambda records, n: records.__setitem__(n, (records[n][0], records[n][1][1:])),
    "with blanks": lambda records, n: records.__setitem__(n, (records[n][0], records[n][1].replace(b",", b", "))),
    "a line's end": lambda records, n: records.__setitem__(n, (records[n][0] + b"\n", records[n][1])),
    "blank": lambda records, n: records.__setitem__(n, (records[n][0].replace(b":", b": ", 1), records[n][1])),
    "rev": lambda records, n: records.__setitem__(n, (records[n][0].replace(b'"rev":1', b'"rev":0'), records[n][1])),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(SPOILT)), st.integers(0, 2 * TOGETHER - 2)), max_size=3))
@settings(max_examples=150, deadline=None)
def test_together_records_are_judged_as_each_alone(edits):
    records = pushed(2 * TOGETHER)
    for name, n in edits:
        SPOILT[name](records, n)
    kinds, leaves, wrong = {name: KINDS[name] for name in TAKEN}, [], []
    for n, (raw, line) in enumerate(records):
        try:
            leaves.append(record.receive(kinds, raw, line, complete=True))
        except HubError:
            wrong.append(n)
    found, problems = local(records)
    assert found == ([] if wrong else leaves)
    assert sorted({int(each.where.split(".")[1]) for each in problems}) == wrong


def test_a_line_spelt_otherwise_comes_back_in_its_one_spelling(workshop):
    records = pushed(FEW)
    records[3] = (records[3][0], records[3][1].replace(b",", b" , "))
    leaves, problems = workshop.receive(records, TAKEN)
    assert problems == [] and [leaf.line for leaf in leaves] == [line.replace(b" , ", b",") for _, line in records]


def test_kinds_not_taken_are_refused_by_a_worker_too(workshop):
    _, problems = workshop.receive(pushed(FEW), ["case/1"])
    assert problems and all(each.where.endswith(".kind") for each in problems[:-1])


YEAR = declaration.load(ROOT / "adapters" / "sample" / "huzhou_year.yaml").feeds[0]
PLAN = msgspec.msgpack.encode(YEAR.plan)


@pytest.fixture
def rows(tmp_path):
    """Rows of the year's table, one of them with a region that is none, one without a date."""
    generator.write_huzhou_year(tmp_path / "inspections.csv", FEW)
    with (tmp_path / "inspections.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    found[3]["area_number"] = "not a region"
    found[5]["check_date"] = "the day before"
    return found


def test_a_worker_makes_of_rows_what_is_made_here(workshop, rows):
    seen, _ = workshop.make(PLAN, KIND.name, {"330500": KEY}, rows).result()
    assert [n for n, each in enumerate(seen) if each is None] == [3, 5], "what has a reason is left to be told here"
    mapper, salts_met = YEAR.mapper(), set()
    for each, row in zip(seen, rows, strict=True):
        if each is not None:
            mapped = mapper(Row(row, ""))
            plain = record.plain(KEY, KIND, mapped.body)
            assert (each.origin, each.id) == ("330500", record.record_id(KEY, KIND.name, mapped.key))
            assert each.content[:3] == plain[:3] and not each.content.groups
            # The groups came closed: each disclosure fits its digest, and every salt is another.
            leaf = record.seal(KIND, each.content, origin="330500", id=each.id, rev=1,
                               at="2026-11-22T17:05:00+08:00", salt=salts())  # fmt: skip
            fields = record.reveal(record.parse(leaf.raw), leaf.disclosures.values())
            assert KIND.join(record.parse(leaf.raw).open, fields) == mapped.body
            salts_met |= {unb64url(text.encode())[2:24] for text in leaf.disclosures.values()}
    assert len(salts_met) == sum(len(record.texts_of(each.content.closed[1])) for each in seen if each)


def test_a_worker_counts_the_columns_that_nobody_mapped(workshop, rows):
    given = [row | {"colour": "red"} for row in rows]
    _, leftovers = workshop.make(PLAN, KIND.name, {"330500": KEY}, given).result()
    assert leftovers == {"colour": FEW}


def test_a_row_of_an_origin_without_a_key_here_is_left_to_be_told(workshop, rows):
    seen, _ = workshop.make(PLAN, KIND.name, {"330400": KEY}, rows).result()
    assert seen == [None] * FEW


def test_salts_are_the_one_spelling_of_sixteen_bytes_and_never_the_same():
    draw = salts()
    drawn = [draw() for _ in range(5000)]
    assert len(set(drawn)) == 5000 and all(len(unb64url(each.encode())) == 16 for each in drawn)


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
        "w._ask(('ready',))\nprint(w._idle.get()._process.pid, flush=True)\nsys.stdin.read()"
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


def test_without_workers_everything_is_done_here(rows):
    alone = Workshop(FOLDER, KINDS, KEY, size=0)
    records = pushed(FEW)
    assert alone.receive(records, TAKEN) == local(records)
    assert alone.make(PLAN, KIND.name, {"330500": KEY}, rows).result() == ([None] * FEW, {})
    alone.close()
    alone.close()
