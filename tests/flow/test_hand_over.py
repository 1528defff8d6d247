"""A city that the hub signed for takes its chain over: the same records, the same ids, its own signature from there on."""

import shutil

import pytest
from city_parts import ROOT
from hub_parts import KINDS, bodies, rig

from hub import audit, batch, evidence
from hub.errors import ConfigError, HubError, KeyRefused, Tampered
from hub.ledger import DIGESTS, Submission

C, READER = "330503", "330483"
NANXUN = '"330503":    {name: {zh: 南浔区, en: Nanxun}, tier: county, '
SELF = NANXUN + "custody: custodial}", NANXUN + 'custody: self, first_key: FIRST, http_keys: ["HTTP"]}'


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path, selves=(READER,), pullers=(C,)) as made:
        made.before = made.put(C, "case/1", bodies("case/1", C, 4))
        made.nodes[READER].pull()
        yield made


def handed(made):
    """The hub announces the city's key, and the framework gives it to the city."""
    given = made.hub.hand_over(C, made.made[C]["batch_key"])
    made.put(C, "case/1", bodies("case/1", C, 1, seed="still the hub's"))
    new = SELF[1].replace("FIRST", given["first_key"]).replace("HTTP", made.made[C]["http_key"])
    made.restart((SELF[0], new))
    return given


def test_a_city_takes_its_chain_over_and_nothing_is_signed_twice(made):
    given = handed(made)
    node = made.nodes[C]
    node.pull()
    node.take_over(given)
    assert node.push() == {"sent": 1, "known": 0, "seq": made.hub.ledger.chain(C).seq}
    chain = made.hub.ledger.chain(C)
    assert chain.custody == "self" and [str(key) for key in chain.keys] == [made.made[C]["batch_key"]]
    # What the city's system holds has the ids that the hub made: unchanged is unchanged, an edit is the next revision.
    issuer, found = node.issuer(C), bodies("case/1", C, 4)
    drafts = [issuer.draft(KINDS["case/1"], key, body) for key, body in found.items()]
    assert issuer.issue(drafts) == []
    changed = found["2"] | {"stage": "01" if found["2"]["stage"] != "01" else "02"}
    (leaf,) = issuer.issue([issuer.draft(KINDS["case/1"], "2", changed)])
    assert (leaf.id, leaf.rev) == (made.before[1].id, 2)
    node.push()
    for code in (READER, C):
        made.nodes[code].pull()
        assert audit.fsck(made.nodes[code].copy, KINDS, made.nodes[code].digest_key).problems == []
    assert audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key).problems == []
    assert audit.rebuild(made.hub.ledger, KINDS, made.hub.digest_key)[1] == []
    trust = made.hub.trust_file()
    before = made.hub.desk.export("case", C, made.before[0].id, frozenset())
    after = made.hub.desk.export("case", C, leaf.id, frozenset())
    assert any("custody" in line for line in evidence.check(before, trust)[1].unproven)
    assert not any("custody" in line for line in evidence.check(after, trust)[1].unproven)


def digests(ledger):
    """Content digests by origin: which of its current records have one."""
    found = {}
    for each in ledger.store.series():
        rows = [known for _, known in ledger.store.walk(each.origin, each.kind) if known.op == "put"]
        found.setdefault(each.origin, set()).update(known.digest is not None for known in rows)
    return found


def test_content_digests_are_kept_where_records_are_signed(made):
    node = made.nodes[READER]
    body = bodies("case/1", READER, 1)["1"]
    node.issuer(READER).issue([node.issuer(READER).draft(KINDS["case/1"], "1", body)])
    node.push()
    assert digests(node.own) == {READER: {True}}
    assert digests(made.hub.ledger) == {"hub": {True}, C: {True}, READER: {False}}
    node.pull()
    assert set().union(*digests(node.copy).values()) == {False}
    given = handed(made)
    made.nodes[C].pull()
    made.nodes[C].take_over(given)
    made.nodes[C].push()
    assert digests(made.nodes[C].own) == {C: {True}}
    # What the hub signed for the city before is no longer its to compare.
    assert digests(made.hub.ledger) == {"hub": {True}, C: {False}, READER: {False}}
    assert audit.rebuild(made.hub.ledger, KINDS, made.hub.digest_key)[1] == []
    for each in (node, made.nodes[C]):
        for ledger in (each.own, each.copy):
            assert audit.rebuild(ledger, KINDS, each.digest_key)[1] == []


def test_a_store_that_kept_digests_of_everything_forgets_them_once(made):
    node = made.nodes[READER]
    body = bodies("case/1", READER, 1)["1"]
    node.issuer(READER).issue([node.issuer(READER).draft(KINDS["case/1"], "1", body)])
    node.push()
    store = made.hub.store
    ((id, known),) = store.walk(READER, "case/1")
    with store.transaction():
        store.set_current(READER, "case/1", [(id, known._replace(digest=b"d" * 16))], 0, 0)
        store.put(DIGESTS, "")
    made.restart()
    assert digests(made.hub.ledger) == {"hub": {True}, C: {True}, READER: {False}}
    assert audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key).problems == []


def test_a_copy_from_scratch_follows_the_whole_chain(made, tmp_path):
    given = handed(made)
    made.nodes[C].pull()
    made.nodes[C].take_over(given)
    made.nodes[C].push()
    made.hub.verify()
    node = made.nodes[READER]
    node.close()
    shutil.rmtree(made.folder / READER / "copy")
    shutil.rmtree(made.folder / READER / "copy-head")
    assert made.node(READER).pull()["size"] == made.hub.store.size()


@pytest.mark.parametrize("stop", ["keep", "append", "push"])
def test_an_interrupted_take_over_goes_on(made, monkeypatch, stop):
    given = handed(made)
    node = made.nodes[C]
    node.pull()

    class Stop(Exception):
        pass

    def stopped(*args, **kwargs):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(*{"keep": (node, "_take_over"), "append": (batch, "next_key"), "push": (node, "_body")}[stop], stopped)
        with pytest.raises(Stop):
            node.take_over(given)
            node.push()
    node = made.node(C)
    node.take_over(given)
    node.push()
    assert made.hub.ledger.chain(C).custody == "self" and made.hub.ledger.chain(C).seq == node.own.chain(C).seq


def test_who_was_not_announced_takes_nothing_over(made):
    node = made.nodes[C]
    node.pull()
    given = {"hub": node.hub, "origin": C, "first_key": "x", "id_key": "y"}
    with pytest.raises(KeyRefused, match="does not announce"):
        node.take_over(given)
    with pytest.raises(ConfigError):
        node.take_over(given | {"origin": READER})
    with pytest.raises(HubError):
        made.hub.hand_over(READER, made.made[READER]["batch_key"])


def test_who_takes_over_says_so_in_the_entry_that_does(made):
    handed(made)
    chain, signer = made.hub.ledger.chain(C), made.rings[C].signer("batch", C)
    following = made.rings[C].signer("batch", C, "next").vkey
    for custody, status in ((None, 403), ("self", 201)):
        raw = batch.next_key(made.nodes[C].hub, chain, [signer], [following], "2026-11-22T17:00:00+08:00", custody=custody)
        answer = made.push(C, batch.pack(raw, []))
        if status == 403:
            assert isinstance(answer, KeyRefused) and "signs for itself" in str(answer)
            assert made.hub.ledger.chain(C) == chain
        else:
            assert answer[0] == status and made.hub.ledger.chain(C).custody == "self"


def test_custody_is_never_taken_back(made):
    given = handed(made)
    made.nodes[C].pull()
    made.nodes[C].take_over(given)
    made.nodes[C].push()
    with pytest.raises(HubError, match="signs for itself"):
        made.hub.issuer(C)
    with pytest.raises(ConfigError, match="custody or first_key"):
        made.restart()
    chain, signer = made.nodes[C].own.chain(C), made.rings[C].signer("batch", C, "next")
    raw = batch.next_key(made.nodes[C].hub, chain, [signer], [signer.vkey], "2026-11-22T17:00:00+08:00", custody="custodial")
    with pytest.raises((KeyRefused, Tampered)):
        made.nodes[C].own.append([Submission(raw, None)])


def test_the_guide_names_the_steps():
    guide = (ROOT / "docs" / "partner-guide.md").read_text()
    assert "keys hand-over" in guide and "partner take-over" in guide
