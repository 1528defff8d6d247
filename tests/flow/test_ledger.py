"""The one append: all or nothing at every step, one root for each size, and nothing signed over a damaged or older store."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_parts import HUB, KIND, KINDS, ORIGIN, TIME, Parts

from hub import audit, batch, ledger, merkle, note, record
from hub.errors import ForkError, GapError, HubError, KeyRefused, RecordError, Tampered
from hub.keys import pin_of
from hub.ledger import HeadFile, Ledger, LedgerSeal, Pin, PlainSeal, ReaderSeal, Submission, proven
from hub.record import Withheld
from hub.store.base import Known
from hub.store.sqlite import SqliteStore

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


def test_custody_passes_to_a_city_by_its_own_entry_and_never_back(tmp_path):
    parts = Parts(tmp_path)
    parts.ledger.open()
    begun = parts.ring.first_note(HUB, "330503", "custodial", TIME)

    def declared(custody):
        parts.ledger.trust = lambda origin: Pin(pin_of(begun), custody)

    def rotated(custody):
        chain, coming = parts.ledger.chain("330503"), parts.ring.signer("batch", "330503", "next")
        return Submission(batch.next_key(HUB, chain, [coming], [coming.vkey], TIME, 0, custody), None)

    # A chain that the hub began is read from its first entry on, whatever the city is declared today.
    declared("self")
    parts.ledger.append([Submission(begun, None)])
    declared("custodial")
    with pytest.raises(KeyRefused, match="declared custodial, not self"):
        parts.ledger.append([rotated("self")])
    declared("self")
    parts.ledger.append([rotated("self")])
    assert parts.ledger.chain("330503").custody == "self"
    for custody in ("self", "custodial"):
        declared(custody)
        with pytest.raises(KeyRefused):
            parts.ledger.append([rotated("custodial")])


def retraction(parts, n, rev):
    count = iter(range(10**6))
    id = parts.leaf(n).id
    return record.retract(KIND, origin=ORIGIN, id=id, rev=rev, at=TIME, reason="vanished", salt=lambda: f"{next(count):022}")


def stands(parts):
    ((_, _, standing, retracted),) = parts.store.series()
    return standing, retracted


def test_what_stands_and_what_is_retracted_is_counted_at_each_step(tmp_path):
    parts = Parts(tmp_path).start()

    def add(*leaves):
        parts.ledger.append([parts.batch(list(leaves))])
        sound(parts)
        return stands(parts)

    with pytest.raises(RecordError, match="what does not stand"):
        add(retraction(parts, 0, 1))
    assert add(parts.leaf(0), parts.leaf(1)) == (2, 0)
    assert add(parts.leaf(0, rev=2)) == (2, 0)
    assert add(retraction(parts, 0, 3)) == (1, 1)
    with pytest.raises(RecordError, match="what does not stand"):
        add(retraction(parts, 0, 4))
    assert add(parts.leaf(0, rev=4)) == (2, 0)
    assert add(parts.leaf(2), retraction(parts, 2, 2), parts.leaf(3)) == (3, 1), "within one batch"
    assert add(retraction(parts, 0, 5), parts.leaf(0, rev=6), retraction(parts, 1, 2)) == (2, 2)
    for rev in (6, 8):
        with pytest.raises(RecordError, match=f"rev {rev} where 7 follows"):
            add(parts.leaf(0, rev=rev))


def test_a_leaf_that_comes_again_replaces_its_own_revision_and_nothing_newer(tmp_path):
    parts = Parts(tmp_path).start()
    parts.ledger.append([parts.batch([parts.leaf(0), parts.leaf(1)])])
    parts.ledger.append([parts.batch([parts.leaf(0, rev=2)])])
    one, other = parts.leaf(0), parts.leaf(1, text="as issued anew")
    before = parts.store.known(ORIGIN, KIND.name, [one.id])[one.id]
    with parts.store.transaction():
        parts.ledger.index([one, other], 7, renew=True)
    found = parts.store.known(ORIGIN, KIND.name, [one.id, other.id])
    assert found[one.id] == before and found[other.id] == Known(1, "put", other.digest, 8)
    assert stands(parts) == (2, 0)


def test_a_copy_takes_what_it_may_see_and_a_whole_ledger_everything(tmp_path):
    parts = Parts(tmp_path / "hub").start()
    copy = Ledger(
        SqliteStore(tmp_path / "copy.db", parts.secrets.vault()), HeadFile(tmp_path / "head" / "copy"),
        LedgerSeal(parts.ring.signer("ledger", "hub")), HUB, parts.trust, signs=lambda _: False, whole=False,
    )  # fmt: skip
    copy.open()

    def held(n):
        return {id: known.rev for id, known in copy.store.known(ORIGIN, KIND.name, [parts.leaf(n).id]).items()}

    def taken(leaves, shared):
        submission = parts.batch(leaves)
        parts.ledger.append([submission])
        seen = [each if n in shared else Withheld(merkle.leaf_hash(each.raw)) for n, each in enumerate(leaves)]
        with pytest.raises(RecordError, match="without its records"):
            parts.ledger.check(submission._replace(leaves=None))
        if shared:
            with pytest.raises(RecordError, match="hash to the signed root"):
                copy.append([submission._replace(leaves=[Withheld(bytes(32)), *seen[1:]])])
        copy.append([submission._replace(leaves=seen if shared else None)])

    copy.append([Submission(parts.genesis, None)])
    # None of a batch's records is shared, then one of two, then revisions with gaps and a retraction of what is not here.
    taken([parts.leaf(0), parts.leaf(1)], ())
    assert copy.store.series() == [] and copy.store.entry(1).first is None and copy.store.entry(1).count == 2
    taken([parts.leaf(0, rev=2), parts.leaf(1, rev=2)], (1,))
    assert held(0) == {} and held(1) == {parts.leaf(1).id: 2}
    taken([parts.leaf(1, rev=3), retraction(parts, 0, 3)], (1,))
    assert held(0) == {parts.leaf(0).id: 3} and held(1) == {parts.leaf(1).id: 2}
    taken([parts.leaf(1, rev=4)], (0,))
    assert held(1) == {parts.leaf(1).id: 4}
    assert copy.checkpoint()[1] == parts.ledger.checkpoint()[1]
    # Nothing goes back to an earlier revision, however little is shared.
    again = parts.batch([parts.leaf(1, rev=4)])
    with pytest.raises(RecordError, match="rev 4 where 5 follows"):
        copy.append([again])


def test_a_copy_between_two_pages_keeps_its_head_until_it_is_whole(tmp_path):
    parts = Parts(tmp_path / "hub").start()
    parts.add([0])
    raw, head = parts.ledger.checkpoint()

    class Page(ReaderSeal):
        """The hub's checkpoint, whatever of it is here."""

        def make(self, checkpoint, read):
            return raw

    copy = Ledger(
        SqliteStore(tmp_path / "copy.db", parts.secrets.vault()), HeadFile(tmp_path / "head" / "copy"),
        LedgerSeal(parts.ring.signer("ledger", "hub")), HUB, parts.trust, signs=lambda _: False, whole=False,
    )  # fmt: skip
    empty, page = copy.open(), Page(parts.key)
    copy.append([Submission(parts.genesis, None)], seal=page)
    assert copy.store.size() == 1 and copy.checkpoint()[1] == empty
    assert copy.open() == empty, "one that was interrupted there goes on from there"
    copy.append([Submission(parts.store.entry(1).note, None)], seal=page)
    assert copy.store.size() == 2 and copy.checkpoint() == (raw, head)


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


# --- seals and the head file ---


def test_only_the_holder_of_the_ledger_key_seals(tmp_path):
    parts = Parts(tmp_path).start()
    raw, head = parts.ledger.checkpoint()
    reader = ReaderSeal(parts.key)
    assert (reader.name, reader.read(raw)) == (parts.key.name, head)
    with pytest.raises(KeyRefused, match="no ledger key"):
        reader.make(head, parts.store.tile)
    parts.ledger.seal = reader
    with pytest.raises(KeyRefused, match="no ledger key"):
        parts.add([1])
    assert parts.store.size() == 1
    plain = PlainSeal("own")
    own = head._replace(origin="own")
    assert plain.read(plain.make(own, parts.store.tile)) == own
    with pytest.raises(RecordError):
        plain.read(head.text())


def test_a_tree_that_shrank_or_forked_is_told_from_one_that_grew(tmp_path):
    parts = Parts(tmp_path).start()
    one = parts.ledger.checkpoint()[1]
    parts.add([1])
    two = parts.ledger.checkpoint()[1]
    proof = merkle.consistency(parts.store.tile, one.size, two.size)
    proven(one, two, proof)
    proven(two, two, [])
    for mine, published, shown, what in (
        (two, one, proof, "has shrunk"),
        (one, two._replace(root=bytes(32)), proof, "was forked"),
        (two, two._replace(root=bytes(32)), [], "was forked"),
        (one, two, [], "was forked"),
    ):
        with pytest.raises(Tampered, match=what):
            proven(mine, published, shown)


def test_a_head_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    head, synced, real = HeadFile(tmp_path / "deep" / "head" / "checkpoint"), [], os.fsync
    assert stat.S_IMODE((tmp_path / "deep" / "head").stat().st_mode) == 0o700

    def fsync(handle):
        found = os.fstat(handle)
        synced.append(("folder" if stat.S_ISDIR(found.st_mode) else found.st_size, head.read()))
        real(handle)

    monkeypatch.setattr(ledger.os, "fsync", fsync)
    held = len(os.listdir("/dev/fd"))
    with head.lock():
        head.swap(None, b"one")
    assert synced == [(3, None), ("folder", b"one")]
    with head.lock():
        head.swap(b"one", b"another")
    assert synced[2:] == [(7, b"one"), ("folder", b"another")]
    assert len(os.listdir("/dev/fd")) == held, "no file is left open"
    assert {stat.S_IMODE(path.stat().st_mode) for path in head.path.parent.iterdir()} == {0o600}
    for other in (None, b"one"):
        with pytest.raises(Tampered, match="changed under its lock"):
            head.swap(other, b"third")
    assert head.read() == b"another"
    # One left behind by a crash, longer than the next one, is no part of that.
    head.path.with_suffix(".new").write_bytes(b"a longer one than the next")
    head.swap(b"another", b"third")
    assert head.read() == b"third"


def test_two_never_hold_the_lock_at_once(tmp_path):
    head = HeadFile(tmp_path / "head")
    script = f"""
import fcntl, os
handle = os.open({str(head.path.with_suffix(".lock"))!r}, os.O_RDWR)
try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("held")
"""
    asked = lambda: subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout  # noqa: E731
    with head.lock():
        assert asked() == "held\n"
    assert asked() == ""


def test_a_ledger_that_was_never_opened_serves_nothing(tmp_path):
    with pytest.raises(HubError, match="not open yet"):
        Parts(tmp_path).ledger.checkpoint()


# --- what stops it ---


def test_a_halted_ledger_signs_nothing_in_any_process(tmp_path):
    parts, beside = Parts(tmp_path).start(), Parts(tmp_path).start()
    parts.ledger.halt("somebody holds more")
    for each in (parts, beside, Parts(tmp_path)):
        with pytest.raises(Tampered, match="somebody holds more"):
            each.add([1])
    assert parts.store.size() == 1 and parts.ledger.checkpoint()[1].size == 1


def test_a_guard_is_asked_once_and_again_only_where_it_refused(tmp_path):
    parts, asked = Parts(tmp_path).start(), []

    def guard():
        asked.append(parts.store.size())
        if len(asked) == 1:
            raise Tampered("outsiders know more")

    parts.ledger.guard = guard
    with pytest.raises(Tampered, match="outsiders"):
        parts.add([1])
    parts.add([1])
    parts.add([2])
    assert asked == [1, 1] and parts.store.size() == 3


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


class Crash(Exception):
    pass


def ahead(parts, numbers):
    """The store holds one entry more than its head file says, as after a crash between commit and swap."""

    def crash(old, new):
        raise Crash

    swap, parts.ledger.head.swap = parts.ledger.head.swap, crash
    with pytest.raises(Crash):
        parts.add(numbers)
    parts.ledger.head.swap = swap


def test_what_a_crash_left_is_published_as_it_was_sealed_and_never_where_it_was_changed(tmp_path):
    parts = Parts(tmp_path).start()
    parts.add([1])
    before = parts.ledger.checkpoint()[1]
    ahead(parts, [2])
    last, db = parts.store.entry(2), parts.store._db()
    assert parts.ledger.checkpoint()[1] == before

    def put(column, value):
        db.execute(f"UPDATE entry SET {column} = ? WHERE idx = 2", (value,))

    put("note", last.note.replace(b"count 1", b"count 2"))
    with pytest.raises(Tampered, match="entry 2 is not what was hashed"):
        Parts(tmp_path).ledger.open()
    put("note", last.note)
    put("checkpoint", parts.store.entry(1).checkpoint)
    with pytest.raises(Tampered, match="no checkpoint of its size"):
        Parts(tmp_path).ledger.open()
    other = note.sign(note.Checkpoint(parts.key.name, 3, bytes(32)).text(), [parts.ring.signer("ledger", "hub")])
    put("checkpoint", other)
    with pytest.raises(Tampered, match="not the published one"):
        Parts(tmp_path).ledger.open()
    assert parts.ledger.checkpoint()[1] == before
    put("checkpoint", last.checkpoint)
    assert Parts(tmp_path).ledger.open().size == 3 and parts.ledger.checkpoint()[0] == last.checkpoint
    parts.add([3])
    sound(parts)


def test_the_next_append_publishes_what_a_crash_left(tmp_path):
    parts = Parts(tmp_path).start()
    ahead(parts, [1])
    parts.add([2])
    assert parts.store.size() == parts.ledger.checkpoint()[1].size == 3
    sound(parts)


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
    # Tiles and bundles are served as far as the published tree goes: 301 entries, one whole tile of 256 and one of 45.
    for level, index, whole in ((0, 0, 256), (0, 1, 45), (1, 0, 1), (0, 2, 0), (1, 1, 0), (2, 0, 0)):
        assert [parts.ledger.tile(level, index, width) is None for width in (-1, 0, whole + 1)] == [True] * 3
        for width in {1, whole} if whole else ():
            assert parts.ledger.tile(level, index, width) == parts.store.tile(level, index)[: 32 * width]
            assert len(parts.ledger.tile(level, index, width)) == 32 * width
        if not level:
            assert [parts.ledger.entry_bundle(index, width) is None for width in (-1, 0, whole + 1)] == [True] * 3
    entries = parts.store.entries(0, 301)
    for index, width in ((0, 256), (0, 1), (1, 45)):
        notes = [each.note for each in entries[256 * index : 256 * index + width]]
        assert parts.ledger.entry_bundle(index, width) == b"".join(len(raw).to_bytes(2, "big") + raw for raw in notes)
    # What a crash leaves beyond the first tile is verified like any other.
    ahead(parts, [300])
    assert Parts(tmp_path).ledger.open().size == 302


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
