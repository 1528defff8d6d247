"""A framework that changes: notices tell partners, pulls carry them out, every version is on the ledger."""

from dataclasses import replace
from datetime import timedelta

import pytest
from framework_edits import BARE, CASES, ERASE, EVERYTHING, WIDER, holds
from hub_parts import KINDS, bodies, rig

from hub import app, audit, record
from hub.announce import texts_on_ledger
from hub.errors import ConfigError
from hub.framework import diff, diff_lines, from_texts

A, B, C = "330483", "330521", "330503"
CHANGXING, GUANGDE = "330522", "341882"

def clean(node):
    report = audit.fsck(node.copy, KINDS, node.digest_key)
    assert report.problems == [], report.problems


def sound(made):
    report = audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key)
    assert report.problems == [], report.problems


def acknowledged(made, code):
    """How far the hub knows this partner to be: (entries, notices)."""
    (found,) = [each for each in made.hub.store.acked() if each.partner == code]
    return found.after, found.notice


def told(made, code):
    return [
        (each.type, each.body["origin"], each.body["kind"], tuple(each.body["groups"]))
        for each in made.hub.store.notices(code, 0, 999)
    ]


def pull_all(made):
    for node in made.nodes.values():
        node.pull()
        clean(node)
        notices = made.hub.store.notices(node.origin, 0, 999)
        assert acknowledged(made, node.origin) == (
            made.hub.store.size(),
            notices[-1].number if notices else 0,
        )


def test_a_group_newly_shared_reaches_what_was_pulled_before(tmp_path):
    with rig(tmp_path, pullers=(C, "330400")) as made:
        made.put(A, "case/1", bodies("case/1", A, 3, seed="a"))
        made.nodes[A].push()
        pull_all(made)
        assert holds(made.nodes[C], A) == {"facts,party_masked": 3}
        made.restart((CASES, WIDER))
        assert ("reissue", A, "case/1", ("identity", "party")) in told(made, C)
        # No peer of A: nothing changes there.
        assert A not in [each[1] for each in told(made, "330400")]
        made.put(A, "case/1", bodies("case/1", A, 2, seed="b"))
        made.nodes[A].push()
        pull_all(made)
        assert set(holds(made.nodes[C], A)) <= {
            "facts,identity,party,party_masked",
            "facts,party,party_masked",
        }
        assert sum(holds(made.nodes[C], A).values()) == 5
        assert sum(holds(made.nodes["330400"], A).values()) == 5
        name = bodies("case/1", A, 3, seed="a")["a1"]["party_name"]
        assert name in [each["party_name"] for each in made.nodes[C].records("case/1")]
        size, notices = made.hub.store.size(), told(made, C)
        made.restart((CASES, WIDER))
        assert made.hub.store.size() == size and told(made, C) == notices
        sound(made)


def test_an_agreement_that_begins_to_share_brings_whole_records(tmp_path):
    """Guangde shares with nobody at first: its batches' leaves were not even hashes in the copies."""
    members = '      - {code: "341882", joined: 2022-09-01}'
    later = members.replace("2022-09-01", "2026-11-25")
    with rig(tmp_path, (members, later), selves=(), pullers=(CHANGXING, GUANGDE)) as made:
        made.put(GUANGDE, "case/1", bodies("case/1", GUANGDE, 3))
        made.put(CHANGXING, "case/1", bodies("case/1", CHANGXING, 2))
        pull_all(made)
        assert holds(made.nodes[CHANGXING], GUANGDE) == {} == holds(made.nodes[GUANGDE], CHANGXING)
        # The day comes by itself: no text changes, and the next tick's announcement tells of it.
        made.clock.at += timedelta(days=3)
        made.restart((members, later))
        pull_all(made)
        assert holds(made.nodes[CHANGXING], GUANGDE) == {"facts,party_masked": 3}
        assert holds(made.nodes[GUANGDE], CHANGXING) == {"facts,party_masked": 2}
        # What follows continues the records that the reissue brought.
        key, body = next(iter(bodies("case/1", GUANGDE, 1).items()))
        made.put(GUANGDE, "case/1", {key: body | {"stage": "13", "closed_on": "2026-11-20", "fine_yuan": "777.00"}})
        pull_all(made)
        assert "777.00" in [each.get("fine_yuan") for each in made.nodes[CHANGXING].records("case/1")]
        sound(made)


@pytest.mark.parametrize("how", ["keep", "erase"])
@pytest.mark.parametrize("shared", [CASES, EVERYTHING], ids=["some groups", "every group"])
def test_what_ends_is_kept_or_given_back_as_agreed(tmp_path, how, shared):
    edits = [ERASE] if how == "erase" else []
    with rig(tmp_path, (CASES, shared), *edits, pullers=(C,)) as made:
        made.put(A, "case/1", bodies("case/1", A, 4))
        made.nodes[A].push()
        pull_all(made)
        before = holds(made.nodes[C], A)
        assert before and all("facts" in groups for groups in before)
        made.restart((CASES, BARE), *edits)
        type = "ended" if how == "keep" else "erase"
        assert {each[0] for each in told(made, C)} == {type}
        pull_all(made)
        assert holds(made.nodes[C], A) == (before if how == "keep" else {"": 4})
        assert len(list(made.nodes[C].records("case/1"))) == 4
        # New revisions come with what is agreed now, however the old ones were treated.
        made.put(A, "case/1", bodies("case/1", A, 1, seed="n"))
        made.nodes[A].push()
        pull_all(made)
        assert holds(made.nodes[C], A).get("") == (1 if how == "keep" else 5)
        sound(made)


@pytest.mark.parametrize("how", ["keep", "erase"])
def test_a_member_that_leaves_keeps_or_gives_back_whole_records(tmp_path, how):
    member = '      - {code: "330503", joined: 2022-05-01}'
    left = member.replace("}", ", left: 2026-11-20}")
    edits = [ERASE] if how == "erase" else []
    with rig(tmp_path, *edits, pullers=(C,)) as made:
        made.put(A, "case/1", bodies("case/1", A, 4))
        made.put(C, "case/1", bodies("case/1", C, 2))
        made.put(A, "transfer/1", bodies("transfer/1", A, 2, to=C))
        made.nodes[A].push()
        pull_all(made)
        assert sum(holds(made.nodes[C], A).values()) == 4
        made.restart((member, left), *edits)
        pull_all(made)
        kept = how == "keep"
        assert bool(holds(made.nodes[C], A)) == bool(holds(made.nodes[C], A, "transfer/1")) == kept
        assert len([r for r in made.nodes[C].records("case/1") if r["origin"] == A]) == (4 if kept else 0)
        assert sum(holds(made.nodes[C], C).values()) == 2
        assert bool(holds(made.nodes[A], C)) == kept
        made.put(A, "case/1", bodies("case/1", A, 1, seed="n"))
        made.nodes[A].push()
        pull_all(made)
        assert sum(holds(made.nodes[C], A).values()) == (4 if kept else 0)
        sound(made)


def test_groups_kept_after_their_end_survive_a_later_reissue(tmp_path):
    with rig(tmp_path, (CASES, WIDER), pullers=(C,)) as made:
        made.put(A, "case/1", bodies("case/1", A, 3))
        made.nodes[A].push()
        pull_all(made)
        before = holds(made.nodes[C], A)
        made.restart((CASES, BARE))
        pull_all(made)
        assert holds(made.nodes[C], A) == before
        made.restart((CASES, CASES))
        pull_all(made)
        assert holds(made.nodes[C], A) == before
        sound(made)


def test_letters_between_the_two_survive_the_end_of_what_all_peers_saw(tmp_path):
    peers = """      - kind: transfer/1
        from: all
        to: peers
        groups: []
        clause: 协作办理情况通报
        purpose: 掌握移送、协查的办理期限和进度
        legal_basis: 浙江省综合行政执法条例第十五条
"""
    with rig(tmp_path, ERASE, pullers=(C, "330500")) as made:
        made.put(A, "transfer/1", bodies("transfer/1", A, 2, to=C))
        made.put(A, "transfer/1", bodies("transfer/1", A, 2, to=B))
        made.nodes[A].push()
        pull_all(made)
        letters = {groups: n for groups, n in holds(made.nodes[C], A, "transfer/1").items() if groups}
        assert sum(letters.values()) == 2 and holds(made.nodes[C], A, "transfer/1")[""] == 2
        made.restart(ERASE, (peers, ""))
        pull_all(made)
        assert holds(made.nodes[C], A, "transfer/1") == letters
        sound(made)


def test_every_version_in_force_is_a_record_of_the_hub(tmp_path):
    with rig(tmp_path, pullers=(C, CHANGXING)) as made:
        kind = KINDS["framework/1"]
        for edits in ([], [(CASES, WIDER)], [(CASES, BARE)], [(CASES, WIDER)]):
            made.restart(*edits)
            texts = texts_on_ledger(made.hub.store, kind)
            assert texts == {name: made.hub.framework.text(name) for name in made.hub.framework.agreements}
            rebuilt, day = from_texts(texts), made.clock().date()
            for to in made.hub.framework.members:
                for origin in made.hub.framework.members:
                    assert rebuilt.decide("case/1", origin, to, day) == made.hub.framework.decide(
                        "case/1", origin, to, day
                    )
        versions = {}
        for entry in made.hub.store.entries(0, 999):
            if entry.origin == "hub" and entry.first is not None:
                for held in made.hub.store.leaves(entry.first, entry.count):
                    open_ = record.parse(held.raw).open
                    versions.setdefault(open_["agreement"], []).append(open_["version"])
        assert versions == {"jiahu": [1, 2, 3, 4], "zhewan": [1]}
        pull_all(made)
        # A partner reads its own agreements' versions from its copy, and nothing of the others.
        assert [each["agreement"] for each in made.nodes[C].records("framework/1")] == ["jiahu"]
        assert [each["agreement"] for each in made.nodes[CHANGXING].records("framework/1")] == ["zhewan"]
        sound(made)


def without(framework, *codes):
    """The framework after these members, and the agreement of Changxing, Anji and Guangde, are gone."""
    agreements = {"jiahu": framework.agreements["jiahu"]}
    members = {code: member for code, member in framework.members.items() if code not in codes}
    return replace(framework, agreements=agreements, members=members)


def test_an_agreement_that_is_gone_is_told_once_and_its_record_withdrawn(tmp_path):
    with rig(tmp_path, pullers=(GUANGDE,)) as made:
        made.hub.framework = without(made.hub.framework)
        made.hub.announce()
        size, notices = made.hub.store.size(), told(made, GUANGDE)
        assert notices and set(texts_on_ledger(made.hub.store, KINDS["framework/1"])) == {"jiahu"}
        for _ in range(3):
            made.hub.announce()
        assert (made.hub.store.size(), told(made, GUANGDE)) == (size, notices)
        sound(made)


def test_a_member_that_is_gone_leaves_a_ledger_that_verifies(tmp_path):
    with rig(tmp_path, pullers=(C,)) as made:
        made.put(GUANGDE, "case/1", bodies("case/1", GUANGDE, 2))
        made.hub.framework = without(made.hub.framework, CHANGXING, "330523", GUANGDE)
        made.hub.announce()
        sound(made)
        made.nodes[C].pull()
        clean(made.nodes[C])


def test_a_hub_that_is_only_looked_at_announces_nothing(tmp_path):
    with rig(tmp_path, pullers=()) as made:
        size = made.hub.store.size()
        changed = replace(made.settings, framework=without(made.settings.framework))
        looking = app.Hub(
            changed, made.folder / "hub", made.ring, port=made.port, now=made.clock,
            first_keys={code: made.made[code]["first_key"] for code in made.selves},
        )  # fmt: skip
        looking.status()
        looking.close()
        assert made.hub.store.size() == size


def test_another_custody_than_the_ledgers_is_refused_at_the_start(tmp_path):
    with rig(tmp_path, pullers=()) as made:
        made.put(A, "case/1", bodies("case/1", A, 1))
        made.nodes[A].push()
        members = dict(made.settings.framework.members)
        members[A] = replace(members[A], custody="custodial")
        changed = replace(made.settings, framework=replace(made.settings.framework, members=members))
        others = {code: made.made[code]["first_key"] for code in made.selves if code != A}
        with pytest.raises(ConfigError) as caught:
            app.Hub(changed, made.folder / "hub", made.ring, port=made.port, now=made.clock, first_keys=others)
        assert f"members.{A}" in str(caught.value)


def test_each_version_says_who_gained_and_who_lost(tmp_path):
    with rig(tmp_path, pullers=(C,)) as made:
        made.restart((CASES, WIDER))
        newest, *older = made.hub.versions("jiahu")
        assert [newest.rev, *(each.rev for each in older)] == [2, 1]
        framework = made.hub.framework
        wider = [each for each in diff(older_framework(made), framework, made.hub.now().date()) if each.agreement == "jiahu"]
        assert wider and newest.changes["en"] == diff_lines(wider, framework, "en")
        assert all("+identity +party" in line for line in newest.changes["zh"])
        assert older[0].changes["zh"] and all(" -" not in line for line in older[0].changes["zh"])
        assert made.hub.store.entry(newest.entry).origin == "hub" and made.hub.versions("none") == []


def older_framework(made):
    """The framework before the last announcement, from its record's first revision."""
    store, kind = made.hub.store, made.hub.settings.kinds["framework/1"]
    texts = {}
    for id, _ in store.walk("hub", kind.name):
        (held,) = store.leaves(store.revisions("hub", kind.name, id)[0], 1)
        groups = record.reveal(record.parse(held.raw), held.disclosures.values())
        texts[record.parse(held.raw).open["agreement"]] = groups["terms"]["text"].encode()
    return from_texts(texts)
