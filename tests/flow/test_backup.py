"""Backups come back whole or not at all, never behind what was published, and outsiders stop a hub that went back."""

import json
import shutil
from contextlib import contextmanager
from datetime import timedelta

import pytest
from hub_parts import KINDS, bodies, rig

from hub import app, audit, backup
from hub.errors import HubError, KeyRefused, Tampered
from hub.web.witness import create_witness
from hub.wire import SKEW
from hub.witness import Policy

A, B, CUSTODIAL = "330483", "330521", "330503"


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path, selves=(A,), pullers=(CUSTODIAL,)) as made:
        grow(made)
        yield made


def grow(made, seed="first"):
    made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 2, seed=f"{seed} {made.hub.store.size()}"))


def saved(made, name="backup"):
    return backup.make(made.hub.ledger, made.folder / name, made.clock())


def lose(made, *parts):
    """The machine loses folders of its data; gives where the hub's stopped data is."""
    made.stop()
    for part in parts:
        shutil.rmtree(made.folder / "hub" / part)


def restored(made, name="backup", head=None):
    return app.restore(made.settings, made.folder / name, head, made.ring)


def serves_again(made):
    """The hub is up, and half a minute later, when no request of before can be meant."""
    made.open()
    made.clock.at += timedelta(seconds=SKEW + 1)


def test_a_backup_comes_back_and_the_hub_goes_on(made):
    manifest = saved(made)
    size = made.hub.store.size()
    lose(made, "store")
    found = restored(made)
    assert (found["size"], found["root"]) == (manifest.size, manifest.root) and manifest.size == size
    assert found["records"] >= 2
    serves_again(made)
    grow(made, "after")
    assert audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key).problems == []
    assert made.nodes[CUSTODIAL].pull()["size"] == made.hub.store.size()


def test_a_backup_is_taken_while_others_read_and_write(made):
    saved(made, "one")
    grow(made, "more")
    saved(made, "two")
    assert backup.read(made.folder / "one").size < backup.read(made.folder / "two").size == made.hub.store.size()


def test_an_older_backup_is_refused_and_leaves_nothing(made):
    saved(made)
    grow(made, "later")
    lose(made, "store")
    for _ in range(2):
        with pytest.raises(Tampered, match="an older copy was restored") as caught:
            restored(made)
        assert "new ledger under another name" in caught.value.mend
        assert list((made.folder / "hub" / "store").glob("*")) == []


def test_without_a_head_file_somebody_else_must_say_how_far_it_goes(made):
    saved(made, "old")
    grow(made, "later")
    saved(made)
    made.nodes[CUSTODIAL].pull()
    held = (made.folder / CUSTODIAL / "copy-head" / "checkpoint").read_bytes()
    lose(made, "store", "head")
    with pytest.raises(Tampered, match="no head file"):
        restored(made)
    with pytest.raises(Tampered, match="an older copy"):
        restored(made, "old", head=held)
    with pytest.raises(HubError, match="a head file is there"):
        restored(made, head=held)
    restored(made)
    serves_again(made)
    grow(made, "on")
    made.nodes[CUSTODIAL].pull()


def test_where_store_and_head_are_both_lost_the_same_key_begins_no_second_history(made):
    saved(made)
    head = (made.folder / "hub" / "head" / "checkpoint").read_bytes()
    lose(made, "store", "head")
    for _ in range(2):
        with pytest.raises(Tampered, match="neither store nor head file are here"):
            made.open()
        assert not (made.folder / "hub" / "head" / "checkpoint").exists()
    restored(made, head=head)
    made.open()
    grow(made, "on")


@pytest.mark.parametrize("spoil", ["store.db", "manifest.json", "nothing"])
def test_a_damaged_backup_is_refused(made, spoil):
    saved(made)
    lose(made, "store")
    if spoil == "nothing":
        shutil.rmtree(made.folder / "backup")
        (made.folder / "backup").mkdir()
    else:
        path = made.folder / "backup" / spoil
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    with pytest.raises(HubError):
        restored(made)
    assert not (made.folder / "hub" / "store" / "hub.db").exists()


def test_a_store_that_is_there_is_never_overwritten(made):
    saved(made)
    made.stop()
    before = (made.folder / "hub" / "store" / "hub.db").read_bytes()
    with pytest.raises(HubError, match="a store is there"):
        restored(made)
    assert (made.folder / "hub" / "store" / "hub.db").read_bytes() == before


def test_requests_from_before_the_restore_are_refused(made):
    saved(made)
    lose(made, "store")
    restored(made)
    made.open()
    with pytest.raises(KeyRefused, match="older than"):
        made.nodes[CUSTODIAL].pull()
    # Nobody's clock is ahead by more: what was signed from here on was spent nowhere else.
    made.clock.at += timedelta(seconds=SKEW + 1)
    made.nodes[CUSTODIAL].pull()
    made.open()
    made.clock.at -= timedelta(seconds=1)
    with pytest.raises(KeyRefused, match="older than"):
        made.nodes[CUSTODIAL].pull()


def test_a_request_waits_for_no_append(made):
    with made.hub.store.transaction():
        assert made.hub.nonces.take("k", "n", 200, 100)


# --- outsiders know ---


def went_back(made):
    """The whole machine, head file and all, is an older one."""
    made.stop()
    shutil.copytree(made.folder / "hub", made.folder / "older")
    made.open()
    grow(made, "lost")


def back(made):
    made.stop()
    shutil.rmtree(made.folder / "hub")
    (made.folder / "older").rename(made.folder / "hub")


def test_a_partner_that_holds_more_stops_a_hub_that_went_back(made):
    went_back(made)
    made.nodes[CUSTODIAL].pull()
    back(made)
    made.open()
    with pytest.raises(Tampered, match="has shrunk"):
        made.nodes[CUSTODIAL].pull()
    for _ in range(2):
        with pytest.raises(Tampered, match="an older copy was restored"):
            grow(made, "other")
        with pytest.raises(HubError, match="an older copy was restored"):
            made.nodes[A].push()
        made.stop()
        with pytest.raises(Tampered, match="an older copy was restored"):
            made.open()
            grow(made)


def test_no_partner_can_stop_a_hub_by_words_alone(made):
    head = made.hub.ledger.checkpoint()
    made.nodes[CUSTODIAL].pull()
    forged = head[0].replace(f"\n{head[1].size}\n".encode(), f"\n{head[1].size + 5}\n".encode())
    with pytest.raises(HubError, match="are published"):
        made.hub.desk.cosign(CUSTODIAL, forged)
    grow(made, "still")


@contextmanager
def witness(made):
    """A node's own witness as the hub reaches it, also when the hub is composed anew."""
    bound = app.bind("127.0.0.1", 0)
    server = app.Server(create_witness(made.nodes[CUSTODIAL].add_checkpoint), bound, None)
    server.start()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    made._witnesses, made._quorum = (CUSTODIAL,), 1
    policy = made.policy()
    made.policy = lambda: Policy((policy.witnesses[0]._replace(url=url),), 1)
    try:
        yield
    finally:
        server.stop()


def test_a_hub_asks_its_witnesses_before_its_first_signature(made):
    with witness(made):
        made.restart()
        went_back(made)
        made.hub.ask_witnesses()
        back(made)
        with pytest.raises(Tampered, match=f"witness {CUSTODIAL} cosigned"):
            made.open()
            grow(made)
        with pytest.raises(Tampered):
            made.open()
            grow(made)


def test_two_hubs_on_one_ledger_are_stopped(made):
    """A copy of the machine runs elsewhere, with the same keys; the witness has seen the first one's tree."""
    with witness(made):
        made.restart()
        went_back(made)
        size = made.hub.store.size()
        made.hub.ask_witnesses()
        back(made)
        with pytest.raises(Tampered):
            made.open()
            grow(made, "twin")
        assert json.loads(made.nodes[CUSTODIAL].copy_store.get("cosigned"))[0] == size
