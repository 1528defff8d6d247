"""The one append: all or nothing at every step, one root for each size, and nothing signed over a damaged or older store."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_parts import HUB, KIND, KINDS, ORIGIN, Parts

from hub import audit, merkle, note
from hub.errors import ForkError, GapError, HubError, KeyRefused, RecordError, Tampered
from hub.ledger import Pin, Submission

TESTS = Path(__file__).parents[1]


def sound(parts):
    report = audit.fsck(parts.ledger, KINDS, parts.secrets.digest_key)
    assert report.problems == [], report.problems
    return report


def test_an_append_is_sealed_published_and_proven(tmp_path):
    parts = Parts(tmp_path).start()
    ((entry, fresh),) = parts.add(range(3))
    raw, head = parts.ledger.checkpoint()
    assert fresh and head.size == 2 and note.open_checkpoint(raw, parts.key) == head
    index, sealed = audit.check_proof(parts.ledger.receipt(entry).encode(), merkle.leaf_hash(entry.note), parts.key)
    assert (index, sealed) == (1, head)
    assert sound(parts).records == 3


def test_the_same_batch_again_is_the_same_entry_and_receipt(tmp_path):
    parts = Parts(tmp_path).start()
    submission = parts.batch([parts.leaf(1)])
    ((entry, fresh),) = parts.ledger.append([submission])
    receipt = parts.ledger.receipt(entry)
    parts.add([2])
    ((again, anew),) = parts.ledger.append([submission])
    assert fresh and not anew and again == entry and parts.ledger.receipt(again) == receipt
    assert parts.store.size() == 3


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda p: p.batch([p.leaf(1, rev=2)]), RecordError),
        (lambda p: p.batch([p.leaf(0, rev=3)]), RecordError),
        (lambda p: p.batch([p.leaf(0, rev=1)]), RecordError),
        (lambda p: Submission(p.batch([p.leaf(5)]).raw, [p.leaf(6)]), RecordError),
        (lambda p: Submission(p.batch([p.leaf(5)]).raw, None), RecordError),
        (lambda p: Submission(p.genesis, [p.leaf(5)]), RecordError),
        (lambda p: Submission(p.batch([p.leaf(5)]).raw.replace(b"seq 3", b"seq 4"), [p.leaf(5)]), GapError),
        (lambda p: Submission(p.batch([p.leaf(5)]).raw.replace(b"seq 3", b"seq 2"), [p.leaf(5)]), ForkError),
        (lambda p: Submission(p.batch([p.leaf(5)]).raw.replace(b"17:05", b"17:06"), [p.leaf(5)]), KeyRefused),
        (lambda p: p.batch([p.leaf(5)._replace(origin="330503")]), RecordError),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing_behind(tmp_path, make, error):
    parts = Parts(tmp_path).start()
    parts.add([0])
    before = (parts.store.size(), parts.store.view_digests(), parts.ledger.checkpoint())
    with pytest.raises(error):
        parts.ledger.append([make(parts)])
    assert (parts.store.size(), parts.store.view_digests(), parts.ledger.checkpoint()) == before
    parts.add([1])
    sound(parts)


def test_only_members_of_the_declared_custody_are_taken(tmp_path):
    parts = Parts(tmp_path)
    parts.ledger.open()
    pin = parts.trust(ORIGIN)
    for trust in (
        lambda origin: None,
        lambda origin: Pin(pin.first_key, "custodial"),
        lambda origin: Pin(None, "self"),
    ):
        parts.ledger.trust = trust
        with pytest.raises(KeyRefused):
            parts.ledger.append([Submission(parts.genesis, None)])


def test_what_joins_the_transaction_falls_with_it(tmp_path):
    parts = Parts(tmp_path).start()

    def fail():
        parts.store.put("cursor", "moved")
        raise ValueError

    with pytest.raises(ValueError):
        parts.ledger.append([parts.batch([parts.leaf(1)])], fail)
    assert parts.store.get("cursor") is None and parts.store.size() == 1
    parts.ledger.append([parts.batch([parts.leaf(1)])], lambda: parts.store.put("cursor", "moved"))
    assert parts.store.get("cursor") == "moved"


# --- crashes between each two steps ---

CHILD = """
import os, signal, sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from ledger_parts import Parts
from hub.ledger import HeadFile
from hub.store.sqlite import SqliteStore

folder, wanted, calls = Path(sys.argv[1]), int(sys.argv[2]), [0]

def step():
    calls[0] += 1
    if calls[0] == wanted:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(call):
    def wrapped(*args, **kwargs):
        step()
        result = call(*args, **kwargs)
        step()
        return result
    return wrapped

parts = Parts(folder).start()
for name in ("append_entry", "append_leaves", "put_tiles", "put_chain", "set_current"):
    setattr(parts.store, name, counted(getattr(parts.store, name)))
parts.ledger.head.swap = counted(parts.ledger.head.swap)
for name in ("fsync", "replace"):
    setattr(os, name, counted(getattr(os, name)))
whole = parts.store.transaction
class Watched:
    def __enter__(self):
        self.inner = whole(); self.inner.__enter__(); step()
    def __exit__(self, *error):
        step(); result = self.inner.__exit__(*error); step(); return result
parts.store.transaction = Watched
calls[0] = 0
parts.add([1, 2, 3])
print("ACKNOWLEDGED", calls[0], flush=True)
"""


def test_a_kill_between_each_two_steps_leaves_all_or_nothing(tmp_path):
    script = CHILD.format(root=str(TESTS.parent), tests=str(TESTS))
    base = tmp_path / "base"
    parts = Parts(base).start()
    parts.add([0])
    parts.store.close()

    def attempt(step):
        folder = tmp_path / f"at-{step}"
        shutil.copytree(base, folder)
        run = subprocess.run([sys.executable, "-c", script, str(folder), str(step)], capture_output=True, text=True)
        return folder, run

    _, whole = attempt(10**6)
    assert whole.returncode == 0, whole.stderr
    steps = int(whole.stdout.split()[1])
    assert steps >= 18
    sizes = []
    for step in range(1, steps + 1):
        folder, run = attempt(step)
        assert run.returncode == -signal.SIGKILL and "ACKNOWLEDGED" not in run.stdout
        again = Parts(folder)
        again.ledger.open()
        sizes.append(again.store.size())
        assert again.ledger.checkpoint()[1].size == again.store.size()
        sound(again)
        # The ordinary path goes on from there: what was lost is simply appended again.
        again.add([1, 2, 3] if again.store.size() == 2 else [4])
        sound(again)
        again.store.close()
        shutil.rmtree(folder)
    assert set(sizes) == {2, 3} and sizes == sorted(sizes), "nothing before the commit, everything after it"


# --- rollback, forks and damage ---


def test_an_older_store_is_refused_with_the_way_out(tmp_path):
    parts = Parts(tmp_path / "hub").start()
    parts.add([0])
    parts.store.close()
    shutil.copytree(tmp_path / "hub", tmp_path / "old")
    parts = Parts(tmp_path / "hub").start()
    parts.add([1])
    parts.store.close()
    shutil.copy(tmp_path / "old" / "hub.db", tmp_path / "hub" / "hub.db")
    for name in ("hub.db-wal", "hub.db-shm"):
        (tmp_path / "hub" / name).unlink(missing_ok=True)
    older = Parts(tmp_path / "hub")
    with pytest.raises(Tampered, match="older copy") as caught:
        older.ledger.open()
    assert caught.value.mend
    with pytest.raises(Tampered):
        older.add([2])


def test_a_lost_head_file_is_refused(tmp_path):
    parts = Parts(tmp_path).start()
    parts.ledger.head.path.unlink()
    with pytest.raises(Tampered, match="head file is missing"):
        Parts(tmp_path).ledger.open()
    with pytest.raises(Tampered):
        parts.add([1])


def test_two_hubs_on_one_ledger_sign_no_two_roots(tmp_path):
    Parts(tmp_path / "one").start().add([0])
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = Parts(tmp_path / "one").start(), Parts(tmp_path / "two")
    two.ledger.head.path = one.ledger.head.path
    two.start()
    one.add([1])
    with pytest.raises(Tampered):
        two.add([2])
    sound(one)


def test_a_flipped_byte_anywhere_that_is_hashed_is_reported(tmp_path):
    parts = Parts(tmp_path).start()
    parts.add(range(4))
    parts.add([0, 1], rev=2)
    sound(parts)
    places = [
        ("segment", "leaves", "first"),
        ("segment", "disclosures", "first"),
        ("entry", "note", "idx"),
        ("entry", "checkpoint", "idx"),
        ("tile", "hashes", "n"),
        ("current", "digest", "id"),
    ]
    db = parts.store._db()
    for table, column, key in places:
        for (at,) in db.execute(f"SELECT {key} FROM {table} WHERE {column} IS NOT NULL").fetchall():
            (value,) = db.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (at,)).fetchone()
            for place in {0, len(value) // 2, len(value) - 1}:
                flipped = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (flipped, at))
                report = audit.fsck(parts.ledger, KINDS, parts.secrets.digest_key)
                assert report.problems, f"{table}.{column} byte {place}"
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, at))
    for column, value in (("origin", "330503"), ("seq", 9), ("count", 3)):
        (kept,) = db.execute(f"SELECT {column} FROM entry WHERE idx = 1").fetchone()
        db.execute(f"UPDATE entry SET {column} = ? WHERE idx = 1", (value,))
        assert audit.fsck(parts.ledger, KINDS, parts.secrets.digest_key).problems, column
        db.execute(f"UPDATE entry SET {column} = ? WHERE idx = 1", (kept,))
    sound(parts)


def test_no_changed_byte_of_what_a_ledger_serves_is_replayed(tmp_path):
    parts = Parts(tmp_path).start()
    parts.add(range(3))
    parts.add([0], rev=2)
    raw, head = parts.ledger.checkpoint()
    whole = parts.ledger.entry_bundle(0, head.size)
    assert audit.verify(Kept(raw, whole), HUB, parts.key, None).size == head.size
    for part, make in ((raw, lambda changed: Kept(changed, whole)), (whole, lambda changed: Kept(raw, changed))):
        for at in range(len(part)):
            for bit in (1, 0x80):
                changed = part[:at] + bytes([part[at] ^ bit]) + part[at + 1 :]
                with pytest.raises(HubError):
                    audit.verify(make(changed), HUB, parts.key, None)


class Kept:
    """A checkpoint and one bundle of entries, as anybody may be served them."""

    def __init__(self, raw, whole):
        self._raw, self._whole = raw, whole

    def checkpoint(self):
        return self._raw

    def bundle(self, index, width):
        return self._whole


def test_rebuild_gives_identical_views_and_mends_a_lost_one(tmp_path):
    parts = Parts(tmp_path).start()
    parts.add(range(5))
    parts.add([1, 2], rev=2)
    before = parts.store.view_digests()
    report, changed = audit.rebuild(parts.ledger, KINDS, parts.secrets.digest_key)
    assert changed == [] and parts.store.view_digests() == before and report.records == 7
    with parts.store.transaction():
        parts.store.drop_current(ORIGIN, KIND.name)
    _, changed = audit.rebuild(parts.ledger, KINDS, parts.secrets.digest_key)
    assert set(changed) == {"current", "series"} and parts.store.view_digests() == before


class Served:
    def __init__(self, ledger):
        self.ledger = ledger

    def checkpoint(self):
        return self.ledger.checkpoint()[0]

    def bundle(self, index, width):
        return self.ledger.entry_bundle(index, width)


def test_verify_replays_the_served_ledger_and_says_what_it_cannot_prove(tmp_path):
    parts = Parts(tmp_path).start()
    for n in range(300):
        parts.add([n])
    report = audit.verify(Served(parts.ledger), HUB, parts.key, parts.trust)
    assert (report.size, report.records, report.origins) == (301, 300, {ORIGIN: 301})
    assert not any("pinned" in line for line in report.unproven)
    report = audit.verify(Served(parts.ledger), HUB, parts.key, None)
    assert any(ORIGIN in line and "not pinned" in line for line in report.unproven)

    class Lying(Served):
        def bundle(self, index, width):
            raw = super().bundle(index, width)
            return raw.replace(b"count 1\n", b"count 2\n", 1)

    with pytest.raises(Tampered):
        audit.verify(Lying(parts.ledger), HUB, parts.key, parts.trust)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20))
@settings(max_examples=15, deadline=None)
def test_every_checkpoint_is_consistent_with_every_earlier_one(tmp_path_factory, steps):
    parts = Parts(tmp_path_factory.mktemp("ledger")).start()
    seen, revs = [parts.ledger.checkpoint()[1]], {}
    for n, restart in steps:
        revs[n] = revs.get(n, 0) + 1
        parts.add([n], rev=revs[n])
        if restart:
            parts.ledger.open()
        seen.append(parts.ledger.checkpoint()[1])
    last = seen[-1]
    for each in seen:
        proof = merkle.consistency(parts.store.tile, each.size, last.size)
        assert merkle.check_consistency(each.size, each.root, last.size, last.root, proof)
    sound(parts)
    parts.store.close()
