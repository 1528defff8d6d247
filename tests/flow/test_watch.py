"""Anybody can follow an open ledger: each entry is verified once, every view compared, and a lie told with its proof."""

import json
import shutil
from dataclasses import replace

import pytest
from hub_parts import bodies, rig
from ledger_parts import HUB, ORIGIN, Parts

from hub import evidence, note
from hub.app import LocalLedger
from hub.canonical import b64
from hub.errors import Unreachable
from hub.evidence import TrustFile
from hub.note import Checkpoint, parse_vkey
from hub.watch import Ledgers, Watch
from hub.witness import Policy, Witness, check_fork

A, C = "330483", "330503"


class Counted(LocalLedger):
    """Counts bundles, and can be away."""

    def __init__(self, ledger):
        super().__init__(ledger)
        object.__setattr__(self, "asked", [])
        object.__setattr__(self, "away", False)

    def checkpoint(self):
        if self.away:
            raise Unreachable("no answer")
        return super().checkpoint()

    def bundle(self, index, width):
        self.asked.append((index, width))
        return super().bundle(index, width)


class Third(LocalLedger):
    """Serves a ledger under a name that nobody trusts."""

    def checkpoint(self):
        return b"third.example/ledger\n" + super().checkpoint()


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path / "rig", selves=(A,), pullers=(C,)) as made:
        grow(made)
        yield made


def grow(made, count=1):
    for n in range(count):
        made.put(C, "case/1", bodies("case/1", C, 1, seed=f"{made.hub.store.size()} {n}"))


def states(watch, views=None):
    return [(told.where, told.state) for told in watch.round(views)]


def test_each_entry_is_verified_once(made):
    served = Counted(made.hub.ledger)
    watch = Watch(made.hub.trust_file(), {"hub": served})
    assert states(watch) == [("hub", "grown")] and states(watch) == [("hub", "ok")] and len(served.asked) == 1
    grow(made, 300)
    served.asked.clear()
    assert states(watch) == [("hub", "grown")] and [index for index, _ in served.asked] == [0, 1]
    object.__setattr__(served, "away", True)
    assert states(watch) == [("hub", "away")]


def test_several_ledgers_are_followed_each_by_its_own_trust_file(made, tmp_path):
    other = Parts(tmp_path / "other").start()
    trust = TrustFile(HUB, other.key, Policy((), 0), {ORIGIN: other.trust(ORIGIN)})
    away = Counted(other.ledger)
    object.__setattr__(away, "away", True)
    served = {"one": Counted(made.hub.ledger), "two": away, "mirror": Counted(other.ledger)}
    watch = Ledgers([made.hub.trust_file(), trust], served)
    assert sorted(states(watch)) == [("mirror", "grown"), ("one", "grown"), ("two", "away")]
    object.__setattr__(away, "away", False)
    view = other.ledger.checkpoint()[0]
    assert sorted(states(watch, {"node": view})) == [("mirror", "ok"), ("one", "ok"), ("two", "grown")]
    # A view of one ledger says nothing of the other; one of a third is no view of either.
    other.add([1])
    assert ("ahead", "tampered") in states(watch, {"ahead": other.ledger.checkpoint()[0].replace(b"ledger", b"ledgers", 1)})
    strange = Ledgers([made.hub.trust_file(), trust], {"x": Third(other.ledger)})
    assert states(strange) == [("x", "tampered")]


def test_views_that_agree_say_nothing(made):
    made.nodes[C].pull()
    view = (made.folder / C / "copy-head" / "checkpoint").read_bytes()
    grow(made)
    watch = Watch(made.hub.trust_file(), {"hub": Counted(made.hub.ledger), "mirror": Counted(made.hub.ledger)})
    assert states(watch, {"node": view}) == [("hub", "grown"), ("mirror", "grown")]


@pytest.mark.parametrize("grown", [0, 2])
def test_two_views_that_contradict_each_other_are_a_proven_fork(made, grown):
    head = made.hub.ledger.checkpoint()[1]
    lie = note.sign(Checkpoint(head.origin, head.size, bytes(32)).text(), [made.ring.signer("ledger", "hub")])
    grow(made, grown)
    watch = Watch(made.hub.trust_file(), {"hub": Counted(made.hub.ledger)})
    told = list(watch.round({"somewhere": lie}))[-1]
    assert (told.where, told.state) == ("somewhere", "tampered") and "two trees" in told.what
    assert check_fork(json.loads(told.proof), parse_vkey(made.card.ledger))[0].size == head.size


@pytest.mark.parametrize("later", [0, 1])
def test_an_address_that_shows_another_tree_than_before_is_proven_to(made, later):
    served = Counted(made.hub.ledger)
    watch, head = Watch(made.hub.trust_file(), {"hub": served}), made.hub.ledger.checkpoint()[1]
    grow(made, later)
    states(watch)
    lie = note.sign(Checkpoint(head.origin, head.size, bytes(32)).text(), [made.ring.signer("ledger", "hub")])
    object.__setattr__(served, "checkpoint", lambda: lie)
    (told,) = watch.round()
    assert (told.where, told.state) == ("hub", "tampered")
    two = check_fork(json.loads(told.proof), parse_vkey(made.card.ledger))
    assert [each.size for each in two] == [head.size, head.size + later]


def test_a_cosignature_that_does_not_hold_is_told_and_the_other_addresses_are_looked_at(made):
    served, name = Counted(made.hub.ledger), f"{made.hub.ledger.hub}/{C}/witness"
    key = parse_vkey(made.made[C]["witness_key"], note.COSIGNATURE)
    trust = replace(made.hub.trust_file(), policy=Policy((Witness(C, key),), 1))
    bad = made.hub.ledger.checkpoint()[0] + f"— {name} {b64(key.id + bytes(72))}\n".encode()
    object.__setattr__(served, "checkpoint", lambda: bad)
    watch = Watch(trust, {"hub": served, "mirror": Counted(made.hub.ledger)})
    assert states(watch) == [("hub", "tampered"), ("mirror", "grown")]


def test_a_view_of_more_and_a_ledger_that_shrank_are_told(made, tmp_path):
    made.stop()
    shutil.copytree(made.folder / "hub", tmp_path / "older")
    made.open()
    grow(made)
    trust, first = made.hub.trust_file(), Counted(made.hub.ledger)
    watch = Watch(trust, {"hub": first})
    states(watch)
    more = made.hub.ledger.checkpoint()[0]
    made.stop()
    shutil.rmtree(made.folder / "hub")
    (tmp_path / "older").rename(made.folder / "hub")
    made.open()
    object.__setattr__(first, "ledger", made.hub.ledger)
    (told,) = watch.round()
    assert told.state == "tampered" and "shrunk" in told.what
    again = Watch(trust, {"hub": Counted(made.hub.ledger)})
    assert states(again, {"node": more}) == [("hub", "grown"), ("node", "tampered")]


def test_another_key_or_junk_is_no_view(made):
    trust = made.hub.trust_file()
    other = evidence.TrustFile(trust.hub, made.ring.signer("http", "hub").vkey, trust.policy, trust.pins)
    assert states(Watch(other, {"hub": Counted(made.hub.ledger)})) == [("hub", "tampered")]
    watch = Watch(trust, {"hub": Counted(made.hub.ledger)})
    assert states(watch, {"junk": b"junk"})[-1] == ("junk", "tampered")
    wrong = replace(trust, pins={**trust.pins, C: trust.pins[C]._replace(first_key=trust.pins["hub"].first_key)})
    (told,) = Watch(wrong, {"hub": Counted(made.hub.ledger)}).round()
    assert told.state == "tampered" and "not the first key" in told.what
