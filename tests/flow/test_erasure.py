"""What is erased is gone from every table and file, stays gone whatever a city sends, and leaves every proof valid."""

import json

import pytest
from city_parts import FILES, KIND, Town, row
from hub_parts import KINDS, bodies, rig, withdrawn

from hub import audit, erasure, evidence, record
from hub.errors import HubError, NotFound
from hub.intake import Reference
from hub.store import engine
from hub.store.sqlite import SqliteStore

A, B, CUSTODIAL = "330483", "330521", "330503"
CANARY = "王某某的秘密"


@pytest.fixture
def town(tmp_path):
    with Town(tmp_path, web=False) as made:
        made.drop(row(1, holder=CANARY), row(2), row("x", "many", holder=CANARY))
        made.pull()
        made.drop(row(1, fee=11, holder=CANARY), row(2), row(1, "many", holder=CANARY))
        made.pull(full=True)
        yield made


def id_of(town, code="1"):
    return town.hub.issuer(FILES).id_of(KIND, json.dumps([code]))


def whole_text(store: SqliteStore):
    """Everything that a store holds, opened."""
    out = []
    for held in store.leaves(1, 10_000):
        out.append((held.raw or b"").decode())
        if held.raw:
            out += [str(fields) for fields in record.reveal(record.parse(held.raw), held.disclosures.values()).values()]
    out += [each.row.decode() + each.reason for each in store.quarantine()]
    return "\n".join(out)


def test_a_group_goes_from_every_revision_and_every_trace(town):
    what = Reference(FILES, KIND, id_of(town))
    assert whole_text(town.store).count(CANARY) >= 3 and len(town.store.quarantine()) >= 1
    done = town.hub.erasures.erase(what, ["party"], "request", "tester")
    assert done["revisions"] == 2 and done["groups"] == ["party"]
    # The row without a number belongs to nobody, so nothing says that it is this record's.
    assert [each.id for each in town.store.quarantine() if CANARY in each.row.decode()] == [""] * len(town.store.quarantine())
    left = whole_text(town.store).replace("\n".join(each.row.decode() + each.reason for each in town.store.quarantine()), "")
    assert CANARY not in left
    known = town.store.known(FILES, KIND, [what.id])[what.id]
    assert (known.digest, known.op, known.rev) == (None, "put", 2)
    town.sound()


def test_what_was_erased_is_not_brought_back(town):
    what = Reference(FILES, KIND, id_of(town))
    town.hub.erasures.erase(what, ["party"], "request", "tester")
    revs = town.revs()
    for full in (True, False):
        town.drop(row(1, fee=99, holder=CANARY), row(2))
        outcome = town.pull(full=full)
        assert (outcome.pull.stored, outcome.pull.retracted, outcome.pull.unchanged) == (0, 0, 2)
    town.drop(row(2))
    assert town.pull(full=True).pull.state == "succeeded"
    assert CANARY not in whole_text(town.store)
    assert [rev for rev in town.revs() if rev in revs]
    town.sound()


def test_of_a_whole_record_only_the_hash_stays(town):
    what = Reference(FILES, KIND, id_of(town))
    raws = [held.raw for held in town.store.leaves(1, 10_000) if held.raw and what.id.encode() in held.raw]
    salts = [record.parse(raw).salt.encode() for raw in raws]
    assert len(raws) == 2 and all(salt in town.files() for salt in salts)
    town.hub.erasures.erase(what, [], "court", "tester", whole=True)
    assert town.store.known(FILES, KIND, [what.id]) == {} and "1" not in town.fees()
    # Not in any file: neither in free pages nor in the journal.
    assert not any(salt in town.files() for salt in salts)
    town.drop(row(1, holder=CANARY), row(2))
    assert town.pull(full=True).pull.stored == 0
    town.sound()
    town.hub.verify()
    assert town.hub.erasures.erase(what, [], "court", "tester", whole=True)["revisions"] == 0, "the same again"


def test_a_crash_before_the_scrub_is_made_good_at_the_next_start(town, monkeypatch, tmp_path):
    what = Reference(FILES, KIND, id_of(town))
    monkeypatch.setattr(erasure, "scrub", lambda store: None)
    town.hub.erasures.erase(what, [], "court", "tester", whole=True)
    assert town.store.get(erasure.SCRUB) == "pending"
    monkeypatch.undo()
    town.hub.close()
    with Town(tmp_path, web=False) as again:
        assert again.store.get(erasure.SCRUB) == ""


def test_the_tombstone_says_what_and_why_and_nothing_of_what_stood_there(town):
    what = Reference(FILES, KIND, id_of(town))
    size = town.store.size()
    town.hub.erasures.erase(what, ["party"], "retention", "tester")
    assert town.store.size() == size + 1
    entry = town.store.entry(size)
    (held,) = town.store.leaves(entry.first, entry.count)
    parsed = record.parse(held.raw)
    assert parsed.kind == erasure.KIND and parsed.open["of_record"] == what.id and parsed.open["reason"] == "retention"
    assert parsed.open["gone"] == "party" and CANARY not in held.raw.decode()


@pytest.mark.parametrize(
    ("groups", "reason", "whole", "words"),
    [
        ([], "request", False, "name groups to erase"),
        (["nope"], "request", False, "name groups to erase"),
        (["party"], "request", True, "name groups to erase"),
        (["party"], "because", False, "is no reason"),
    ],
)
def test_what_makes_no_sense_erases_nothing(town, groups, reason, whole, words):
    before = town.store.view_digests()
    with pytest.raises(HubError, match=words):
        town.hub.erasures.erase(Reference(FILES, KIND, id_of(town)), groups, reason, "tester", whole=whole)
    with pytest.raises(NotFound):
        town.hub.erasures.erase(Reference(FILES, KIND, "A" * 22), ["party"], "request", "tester")
    assert town.store.view_digests() == before


# --- partners ---


def test_partners_erase_too_and_what_they_say_is_shown(tmp_path):
    with rig(tmp_path, pullers=(CUSTODIAL,)) as made:
        cases = made.put(A, "case/1", bodies("case/1", A, 3))
        made.nodes[A].push()
        for code in (A, B, CUSTODIAL):
            made.nodes[code].pull()
        secret = bodies("case/1", A, 3)["2"]["facts"]
        what = Reference(A, "case/1", cases[1].id)
        stores = [made.hub.store, made.nodes[A].own_store, made.nodes[A].copy_store, made.nodes[CUSTODIAL].copy_store]
        assert all(secret in whole_text(store) for store in stores)
        made.hub.erasures.erase(what, ["facts"], "request", "tester")
        (told,) = made.hub.erasures.told()
        assert told["said_done"] == [] and A in told["not_yet"]
        for code in (A, CUSTODIAL):
            made.nodes[code].pull()
            made.nodes[code].pull()
        assert not any(secret in whole_text(store) for store in stores)
        (told,) = made.hub.erasures.told()
        assert told["said_done"] == [A, CUSTODIAL] and B in told["not_yet"]
        for code in (A, CUSTODIAL):
            node = made.nodes[code]
            assert audit.fsck(node.copy, KINDS, node.digest_key).problems == []
        assert audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key).problems == []
        # Its other groups are proven as before; the erased one is not shown and not missed.
        bundle = made.hub.desk.export("case", A, what.id, frozenset({"facts", "party_masked"}))
        shown, _ = evidence.check(bundle, made.hub.trust_file())
        assert "facts" not in shown and "party_name" in shown
        tombstones = list(made.nodes[CUSTODIAL].records(erasure.KIND))
        assert [each["of_record"] for each in tombstones] == [what.id]


def test_a_push_of_what_was_erased_is_refused_whole(tmp_path):
    with rig(tmp_path, selves=(A,), pullers=()) as made:
        found = bodies("case/1", A, 2)
        cases = made.put(A, "case/1", found)
        made.nodes[A].push()
        made.hub.erasures.erase(Reference(A, "case/1", cases[0].id), [], "request", "tester", whole=True)
        size = made.hub.store.size()
        key = next(iter(found))
        made.put(A, "case/1", {key: found[key] | {"stage": "01" if found[key]["stage"] != "01" else "02"}})
        with pytest.raises(HubError, match="were erased"):
            made.nodes[A].push()
        assert made.hub.store.size() == size


@pytest.mark.parametrize("origin", [A, CUSTODIAL])
def test_a_revision_that_an_erasure_overtakes_on_its_way_is_refused_too(tmp_path, monkeypatch, origin):
    """The erasure ends between the look at what is erased and the append, of a push and of a read of the hub's own."""
    with rig(tmp_path, selves=(A,), pullers=()) as made:
        (body,) = bodies("case/1", origin, 1).values()
        (leaf,) = made.put(origin, "case/1", {"k": body})
        made.nodes[A].push()
        append = made.hub.ledger.append

        def overtaken(*args, **options):
            monkeypatch.setattr(made.hub.ledger, "append", append)
            made.hub.erasures.erase(Reference(origin, "case/1", leaf.id), ["facts"], "court", "tester")
            return append(*args, **options)

        monkeypatch.setattr(made.hub.ledger, "append", overtaken)
        with pytest.raises(HubError, match="erased"):
            made.put(origin, "case/1", {"k": body | {"stage": "01" if body["stage"] != "01" else "02"}})
            made.nodes[A].push()
        assert made.hub.store.known(origin, "case/1", [leaf.id])[leaf.id].rev == 1


@pytest.mark.parametrize("origin", [A, CUSTODIAL])
def test_what_never_held_the_erased_group_is_told_as_before(tmp_path, origin):
    """Nothing of the record goes, and what the views say of it is what the entries give."""
    with rig(tmp_path, selves=(A,), pullers=()) as made:
        kind, (body,) = KINDS["inspection/1"], bodies("inspection/1", origin, 1).values()
        body = {name: value for name, value in body.items() if kind.fields[name].group != "facts"}
        (leaf,) = made.put(origin, kind.name, {"k": body})
        made.nodes[A].push()
        before = made.hub.store.known(origin, kind.name, [leaf.id])
        made.hub.erasures.erase(Reference(origin, kind.name, leaf.id), ["facts"], "request", "tester")
        assert made.hub.store.known(origin, kind.name, [leaf.id]) == before
        assert audit.rebuild(made.hub.ledger, KINDS, made.hub.digest_key)[1] == []


def test_a_city_takes_back_what_was_erased(tmp_path):
    """It would stand in the way of all that this city signs afterwards."""
    with rig(tmp_path, selves=(A,), pullers=()) as made:
        node = made.nodes[A]
        (leaf,) = made.put(A, "case/1", bodies("case/1", A, 1))
        node.push()
        made.hub.erasures.erase(Reference(A, "case/1", leaf.id), ["facts"], "request", "tester")
        node.pull()
        node.issuer(A).issue([withdrawn(node.issuer(A), "case/1", "1")])
        made.put(A, "case/1", bodies("case/1", A, 1, seed="next"))
        assert node.push()["sent"] == 2
        assert made.hub.store.known(A, "case/1", [leaf.id])[leaf.id].op == "retract"
        assert audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key).problems == []


def test_a_node_scrubs_at_its_next_pull_what_a_reader_kept_it_from(tmp_path):
    with rig(tmp_path, selves=(A,), pullers=(B,)) as made:
        (leaf,) = made.put(A, "case/1", bodies("case/1", A, 1))
        made.nodes[A].push()
        node = made.nodes[B]
        node.pull()
        reader = engine.sqlite3.connect(str(tmp_path / B / "copy" / "store.db"), isolation_level=None)
        reader.execute("PRAGMA busy_timeout = 0")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM segment").fetchone()
        made.hub.erasures.erase(Reference(A, "case/1", leaf.id), ["party"], "request", "tester")
        for store in (node.copy_store, node.own_store):
            store._db().execute("PRAGMA busy_timeout = 0")
        node.pull()
        assert node.copy_store.get(erasure.SCRUB) == "pending", "somebody still reads"
        reader.execute("COMMIT")
        reader.close()
        node.pull()
        assert node.copy_store.get(erasure.SCRUB) == ""
