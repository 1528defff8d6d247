"""A partner's copy against the hub: equal by its root, mended batch by batch, and nothing kept that is not granted."""

from datetime import timedelta

import pytest
from framework_edits import BARE, CASES, ERASE, holds
from hub_parts import KINDS, bodies, rig

from hub import audit, record
from hub.copies import copies
from hub.errors import Tampered
from hub.store import engine
from hub.store.sqlite import SEGMENT

A, B, C = "330483", "330521", "330503"


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path, selves=(A,), pullers=(C,)) as found:
        for n in range(3):
            found.put(A, "case/1", bodies("case/1", A, 20, seed=str(n)))
            found.put(C, "case/1", bodies("case/1", C, 5, seed=str(n)))
        found.nodes[A].push()
        found.nodes[C].pull()
        yield found


def report(node):
    return audit.fsck(node.copy, KINDS, node.digest_key)


def edit(node, sql, *values):
    """Change the copy's database behind its back."""
    path = node.folder / "copy" / "store.db"
    db = engine.sqlite3.connect(str(path), isolation_level=None)
    assert db.execute(sql, values).rowcount
    db.close()


def flipped(blob, at):
    at %= len(blob)
    return blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]


def batch_of(node, origin, n=1):
    """The n-th batch of an origin in the copy."""
    return [each for each in node.copy_store.entries(0, 999) if each.origin == origin and each.first is not None][n]


def rows(node):
    store = node.copy_store
    return [(x.note, [h.raw or h.hash for h in store.leaves(x.first, x.count)] if x.first else None)
            for x in store.entries(0, 999)]  # fmt: skip


# --- equal, behind, different ---


def copy_of(made, code=C):
    (found,) = copies(made.hub.store, [code])
    return found


def test_the_root_a_partner_says_tells_the_hub_that_both_hold_the_same(made):
    assert (copy_of(made).state, copy_of(made).behind, copy_of(made).notices) == ("equal", 0, 0)
    made.put(C, "case/1", bodies("case/1", C, 2, seed="later"))
    found = copy_of(made)
    assert (found.state, found.behind, found.size) == ("behind", 1, made.hub.store.size() - 1)
    made.nodes[C].pull()
    assert copy_of(made).state == "equal"
    assert copies(made.hub.store, ["330400"]) == []


def test_a_copy_with_another_root_is_shown_and_hurts_nobody(made):
    client = made.nodes[C]._client
    size = made.hub.store.size()
    assert client.get("/v1/entries", {"after": size, "notice": 0, "root": "A" * 43}).status == 200
    assert copy_of(made).state == "different"
    agreement = made.hub.framework.agreements["jiahu"]
    found = made.hub.crosscheck(agreement, made.clock().date(), made.clock(), [])
    assert [(each.type, each.refs[0].origin) for each in found.found if each.type.startswith("copy")] == [
        ("copy_different", C)
    ]
    assert client.get("/v1/entries", {"after": size, "notice": 0}).status == 200
    assert copy_of(made).state == "unsaid"
    made.nodes[C].pull()
    assert copy_of(made).state == "equal"


@pytest.mark.parametrize("root", ["A" * 42, "A" * 44, "A" * 42 + "B", "é" * 43])
def test_a_root_that_is_no_hash_is_refused(made, root):
    reply = made.nodes[C]._client.get("/v1/entries", {"after": 0, "notice": 0, "root": root})
    assert reply.status == 422 and "query.root" in reply.body.decode()


def test_a_copy_is_behind_only_after_the_time_agreed(made):
    agreement = made.hub.framework.agreements["jiahu"]
    made.put(C, "case/1", bodies("case/1", C, 2, seed="later"))

    def found():
        across = made.hub.crosscheck(agreement, made.clock().date(), made.clock(), [])
        return [each.type for each in across.found if each.type.startswith("copy")]

    assert found() == []
    made.clock.at += timedelta(hours=25)
    assert found() == ["copy_behind"]
    made.nodes[C].pull()
    assert found() == []


# --- damaged and mended ---


def damage(node, what):
    entry, other = batch_of(node, A), batch_of(node, C)
    first = entry.first
    if what == "record":
        (leaves,) = node.copy_store._one("SELECT leaves FROM segment WHERE first = ?", first)
        edit(node, "UPDATE segment SET leaves = ? WHERE first = ?", flipped(leaves, 200), first)
    elif what == "disclosure":
        (sealed,) = node.copy_store._one("SELECT disclosures FROM segment WHERE first = ?", first)
        edit(node, "UPDATE segment SET disclosures = ? WHERE first = ?", flipped(sealed, 100), first)
    elif what == "form":
        edit(node, "UPDATE segment SET leaves = ? WHERE first = ?", b"\xc1", first)
    elif what == "missing rows":
        edit(node, "DELETE FROM segment WHERE first = ?", first + SEGMENT)
    elif what == "note":
        edit(node, "UPDATE entry SET note = ? WHERE idx = ?", flipped(entry.note, 60), entry.index)
    elif what == "name":
        edit(node, "UPDATE entry SET text_hash = 'x' WHERE idx = ?", entry.index)
    elif what == "receipt":
        edit(node, "UPDATE entry SET checkpoint = ? WHERE idx = ?", flipped(entry.checkpoint, -9), entry.index)
    elif what == "tile":
        (tile,) = node.copy_store._one("SELECT hashes FROM tile WHERE level = 0 AND n = 0")
        edit(node, "UPDATE tile SET hashes = ? WHERE level = 0 AND n = 0", flipped(tile, 32 * entry.index))
    elif what == "cut tile":
        (tile,) = node.copy_store._one("SELECT hashes FROM tile WHERE level = 0 AND n = 0")
        edit(node, "UPDATE tile SET hashes = ? WHERE level = 0 AND n = 0", tile[: 32 * entry.index])
        return set(range(entry.index, node.copy_store.size()))
    elif what == "two":
        damage(node, "record")
        edit(node, "DELETE FROM segment WHERE first = ?", other.first)
    return {entry.index, other.index} if what == "two" else {entry.index}


CLASSES = ("record", "disclosure", "form", "missing rows", "note", "name", "receipt", "tile", "cut tile", "two")


@pytest.mark.parametrize("what", CLASSES)
def test_a_damaged_batch_is_named_and_pulled_again(made, what):
    node = made.nodes[C]
    before, known = rows(node), holds(node, A)
    at = damage(node, what)
    told = report(node)
    assert told.problems and {each.entry for each in node.damaged()} == at
    for index in at if what != "cut tile" else ():
        entry = node.copy_store.entry(index)
        assert any(f"entry {index} ({entry.origin} seq {entry.seq}): " in line for line in told.problems), told.problems
    assert {each.entry for each in node.mend()} == at
    assert report(node).problems == [] and node.damaged() == [] and node.mend() == []
    assert rows(node) == before and holds(node, A) == known
    made.put(A, "case/1", bodies("case/1", A, 3, seed="after"))
    made.nodes[A].push()
    node.pull()
    assert report(node).problems == [] and node.copy.checkpoint() == made.hub.ledger.checkpoint()


def test_a_hub_that_serves_another_history_for_what_is_damaged_is_refused(made, monkeypatch):
    node = made.nodes[C]
    at = batch_of(node, C)
    damage(node, "record")
    page = node._page

    def lie(after, notice):
        found = page(after, notice)
        index, _, _ = found.entries[0]
        return found._replace(entries=[(index, at.note, None), *found.entries[1:]])

    monkeypatch.setattr(node, "_page", lie)
    with pytest.raises(Tampered, match="not what its signed checkpoint covers"):
        node.mend()
    monkeypatch.undo()
    assert node.mend() and report(node).problems == []


# --- beyond entitlement ---


def test_what_an_ended_share_demands_back_is_given_back_and_the_hub_knows(made):
    node = made.nodes[C]
    assert node.beyond() == [] and holds(node, A)
    made.clock.at += timedelta(days=1)
    made.restart((CASES, BARE), ERASE)
    assert copy_of(made).notices == 2  # of both peers
    # The copy learns of the new framework with the notice; before it is carried out it holds too much.
    carried, node._carry_out = node._carry_out, lambda notice: None
    with pytest.raises(StopIteration):
        node._page = stop_after(node._page, 1)
        node.pull()
    del node._page
    assert {(each["origin"], each["kind"]) for each in node.beyond()} == {(A, "case/1")}
    assert node.status()["beyond"][0]["groups"] == ["facts", "party_masked"]
    node._carry_out = carried
    node.pull()
    assert node.beyond() == [] and copy_of(made).notices == 0
    assert report(node).problems == []


def stop_after(page, most):
    count = iter(range(most))

    def stopped(*args):
        next(count)
        return page(*args)

    return stopped


def test_what_an_ended_share_lets_a_copy_keep_is_not_beyond(made):
    node = made.nodes[C]
    held = holds(node, A)
    made.clock.at += timedelta(days=1)
    made.restart((CASES, BARE))
    node.pull()
    assert holds(node, A) == held and node.beyond() == []


def test_what_is_held_for_no_reason_is_listed_and_given_back(made):
    node = made.nodes[C]
    full = next(each for each in made.nodes[A].own_store.entries(0, 99) if each.count)
    (held,) = made.nodes[A].own_store.leaves(full.first, 1)
    entry = batch_of(node, A, 0)
    with node.copy_store.transaction():
        node.copy_store.fill_leaf(entry.first, node._receive(held.raw, record.line_of(held.disclosures.values())), b"")
    (found,) = node.beyond()
    assert (found["origin"], found["kind"], found["records"]) == (A, "case/1", 1)
    assert {"identity", "party"} <= set(found["groups"]) and "facts" not in found["groups"]
    assert node.give_back() == [found] and node.beyond() == [] and report(node).problems == []
