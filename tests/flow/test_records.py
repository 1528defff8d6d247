"""Records as accounts find and see them, on a real hub: who sees what, what is noted, what erasing leaves to be found."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from city_parts import KIND as STALL
from city_parts import Town, row
from hub_parts import KINDS, TODAY, Rig, bodies, rig, withdrawn
from record_parts import ABOVE, FAR, NAME, OWN, PEER, PERSON, TOWN, firm, person

from hub import audit, evidence, searching
from hub.errors import NotFound
from hub.intake import Reference
from hub.records import Asked
from hub.records import words as worded
from hub.searching import Searching
from hub.store.base import Account


def account(*jurisdictions: str, agreements: tuple[str, ...] = (), name: str = "reader") -> Account:
    return Account(name, "", "viewer", agreements, jurisdictions)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, selves=(), pullers=(), serve=False) as made:
        made.hub = made.compose()
        yield made
        made.hub.close()
        made.hub = None


def put(hub: Rig, **found: dict[str, Any]) -> list[str]:
    """Records of Tongxiang; gives their ids."""
    return [leaf.id for leaf in hub.put(OWN, "case/1", found)]


def ids(hub: Rig, who: Account, words: str = "", **asked: str) -> list[str]:
    found = hub.hub.records.search(who, Asked(words, **asked))
    assert found["behind"] == 0 and found["total"] == len(found["rows"])
    return [row["id"] for row in found["rows"]]


def look(hub: Rig, who: Account, id: str, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = hub.hub.records.record(who, "case", OWN, id, **how)
    return found


def states(seen: dict[str, Any]) -> dict[str, str]:
    return {home["home"]: home["state"] for home in seen["homes"]}


def texts(seen: Any) -> str:
    return json.dumps(seen, ensure_ascii=False, default=str)


def journal(hub: Rig, **where: str) -> list[tuple[str, str, str, str]]:
    return [each[1:5] for each in hub.hub.accounts.journal(100, **where)]


# --- who sees what ---


def test_each_sees_the_groups_that_the_framework_gives_it(hub: Rig) -> None:
    (id,) = put(hub, one=person())
    own, peer, above = (look(hub, account(code), id) for code in (OWN, PEER, ABOVE))
    assert states(own) == {"open": "shown", "facts": "shown", "identity": "shown", "party": "shown", "source": "shown"}
    assert PERSON in texts(own["homes"])
    assert states(peer) == {
        "open": "shown", "facts": "shown", "identity": "withheld", "party": "withheld", "party_masked": "shown",
        "source": "withheld",
    }  # fmt: skip
    assert peer["clauses"] == ["jiahu: 案件信息互通互认"] and "张*" in texts(peer)
    assert states(above)["facts"] == "withheld" and above["clauses"] == ["jiahu: 上级统筹与监督"]
    for seen in (peer, above):
        assert PERSON not in texts(seen)
    nobody = look(hub, account(), id)
    sealed = ("facts", "identity", "party", "party_masked", "source")
    assert states(nobody) == {"open": "shown"} | dict.fromkeys(sealed, "withheld")
    assert {home["why"] for home in nobody["homes"]} == {"", "jurisdiction"}


def test_who_is_given_nothing_finds_nothing_and_cannot_tell_it_from_nothing(hub: Rig) -> None:
    (id,) = put(hub, one=firm())
    for who in (account(TOWN), account(FAR), account("999999"), account(agreements=("zhewan",)), account(agreements=("no",))):
        told = []
        for wanted in (id, "A" * 22):
            with pytest.raises(NotFound) as refused:
                look(hub, who, wanted)
            told.append(str(refused.value))
            with pytest.raises(NotFound):
                hub.hub.records.evidence(who, "case", OWN, wanted)
        assert told[0] == told[1]
        assert ids(hub, who, kind="case/1") == ids(hub, who, NAME) == []
        assert OWN not in hub.hub.records.choices(who)["origin"]
    assert journal(hub, what="look") == journal(hub, what="evidence") == []
    assert ids(hub, account(agreements=("jiahu",)), kind="case/1") == [id]


def test_agreements_narrow_an_account_that_works_for_a_jurisdiction(hub: Rig) -> None:
    (id,) = put(hub, one=firm())
    assert look(hub, account(PEER, agreements=("jiahu",)), id)["clauses"]
    with pytest.raises(NotFound):
        look(hub, account(PEER, agreements=("zhewan",)), id)
    assert states(look(hub, account(OWN, agreements=("zhewan",)), id))["party"] == "shown", "its own"
    for agreement, codes in (("jiahu", (PEER,)), ("zhewan", (FAR,))):
        spoken = {row["id"] for row in hub.hub.records.search(account(*codes), Asked(origin="hub"))["rows"]}
        assert len(spoken) == 1 and set(ids(hub, account(*codes, agreements=(agreement,)), origin="hub")) == spoken
        assert ids(hub, account(*codes, agreements=("another",)), origin="hub") == []
    both = look(hub, account(ABOVE, PEER), id)
    assert states(both)["facts"] == "shown" and len(both["clauses"]) == 2


def test_letters_show_their_parties_to_the_two_sides_alone(hub: Rig) -> None:
    (leaf,) = hub.put(OWN, "transfer/1", bodies("transfer/1", OWN, 1, to=PEER))
    peer = hub.hub.records.record(account(PEER), "transfer", OWN, leaf.id)
    third = hub.hub.records.record(account("330521"), "transfer", OWN, leaf.id)
    assert states(peer)["party"] == "shown" and states(third)["party"] == "withheld"
    assert [row["id"] for row in hub.hub.records.search(account(PEER), Asked(kind="transfer/1"))["rows"]] == [leaf.id]


def test_records_of_the_hub_are_seen_by_the_agreement_they_speak_of(hub: Rig) -> None:
    found = hub.hub.records.search(account(PEER), Asked(origin="hub"))["rows"]
    assert {row["kind"] for row in found} == {"framework/1"}
    seen = [hub.hub.records.record(account(PEER), "framework", "hub", row["id"]) for row in found]
    assert all("jiahu" in texts(each["homes"][0]) and states(each)["terms"] == "shown" for each in seen) and len(seen) == 1
    assert len(hub.hub.records.search(account(), Asked(origin="hub"))["rows"]) == len(hub.settings.framework.agreements)


# --- finding ---


def test_a_record_is_found_by_its_numbers_its_party_and_what_narrows(hub: Rig) -> None:
    one, two = put(hub, one=firm(item_code="33013100100101"), two=person(2))
    body = firm(item_code="33013100100101")
    own = account(OWN)
    numbers = (body["party_id"], body["party_id"].lower(), body["case_code"], f" {body['doc_no']} ")
    for words in (NAME, "红旗餐饮", "浙江红旗餐饮", *numbers):
        assert ids(hub, own, words) == [one], words
    assert ids(hub, own, PERSON) == [two] and ids(hub, own, "张三") == ids(hub, own, "红旗") == ids(hub, own, "张*") == []
    assert ids(hub, own, item="33013100100101") == [one]
    day = body.get("decided_on", body["filed_on"])
    assert one in ids(hub, own, since=day, until=day) and ids(hub, own, NAME, since="2030-01-01") == []
    assert ids(hub, own, NAME, kind="case/1") == [one] and ids(hub, own, NAME, kind="inspection/1") == []
    assert set(ids(hub, own, body["agency_uscc"])) >= {one}


def test_nobody_finds_a_record_by_what_it_would_not_show(hub: Rig) -> None:
    one, two = put(hub, one=firm(), two=person(2))
    for who, firms, people in ((PEER, [one], []), (ABOVE, [one], []), (OWN, [one], [two])):
        assert ids(hub, account(who), NAME) == firms, who
        assert ids(hub, account(who), firm()["party_id"]) == firms, who
        assert ids(hub, account(who), PERSON) == ids(hub, account(who), person()["party_id"]) == people, who
    assert ids(hub, account(), NAME) == ids(hub, account(), PERSON) == []
    # Of its own records the peer may see the party: that tells it nothing of another's.
    (mine,) = [leaf.id for leaf in hub.put(PEER, "case/1", {"mine": person(3)})]
    assert ids(hub, account(PEER), PERSON) == [mine] and ids(hub, account(PEER), person()["party_id"]) == []
    # The document's number stands in a group that the superior is not given.
    assert ids(hub, account(PEER), firm()["doc_no"]) == [one] and ids(hub, account(ABOVE), firm()["doc_no"]) == []


def test_a_revision_is_found_by_what_it_says_now_and_a_retraction_not_at_all(hub: Rig) -> None:
    (id,) = put(hub, one=firm())
    assert ids(hub, account(OWN), NAME) == [id]
    put(hub, one=firm(party_name="另一家餐饮店"))
    assert ids(hub, account(OWN), NAME) == [] and ids(hub, account(OWN), "另一家餐饮店") == [id]
    issuer = hub.issuer(OWN)
    issuer.issue([withdrawn(issuer, "case/1", "one")])
    assert ids(hub, account(OWN), kind="case/1") == ids(hub, account(OWN), "另一家餐饮店") == []
    seen = look(hub, account(OWN), id)
    assert (seen["op"], seen["reason"], [each["rev"] for each in seen["revisions"]]) == ("retract", "withdrawn", [3, 2, 1])


def test_long_lists_are_whole_page_by_page_the_newest_first(hub: Rig) -> None:
    put(hub, **{f"n{n}": firm(n) for n in range(1, 121)})
    pages = [hub.hub.records.search(account(OWN), Asked(kind="case/1"), number) for number in (1, 2, 3, 9)]
    assert [(page["number"], page["total"], page["last"], len(page["rows"])) for page in pages] == [
        (1, 120, 3, 50), (2, 120, 3, 50), (3, 120, 3, 20), (3, 120, 3, 20),
    ]  # fmt: skip
    days = [row["day"] for page in pages[:3] for row in page["rows"]]
    assert days == sorted(days, reverse=True) and len({row["id"] for page in pages[:3] for row in page["rows"]}) == 120


def test_how_far_the_list_is_behind_is_said(hub: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (id,) = put(hub, one=firm())
    monkeypatch.setattr(Searching, "_step", lambda self: False)
    assert hub.hub.records.search(account(OWN), Asked())["behind"] == hub.hub.store.last_leaf() > 0
    seen = look(hub, account(OWN), id)
    assert (seen["behind"] > 0, seen["unlisted"], seen["rev"]) == (True, 0, 1)
    put(hub, one=firm(case_name="另一案"))
    assert look(hub, account(OWN), id)["unlisted"] == 1
    monkeypatch.undo()
    assert look(hub, account(OWN), id)["unlisted"] == 0


def test_the_list_is_made_anew_by_a_rebuild_and_by_another_declaration(hub: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (id,) = put(hub, one=firm())
    assert ids(hub, account(OWN), NAME) == [id]
    audit.rebuild(hub.hub.ledger, KINDS, hub.hub.digest_key)
    assert hub.hub.searching.behind() == hub.hub.store.last_leaf() and ids(hub, account(OWN), NAME) == [id]
    monkeypatch.setattr(searching, "_FORM", 0)
    other = Searching(hub.hub.store, KINDS, bytes(32))
    assert other.behind() == hub.hub.store.last_leaf() and other.catch_up() == 0
    # Under another key nothing that was marked before is found.
    assert ids(hub, account(OWN), NAME) == [id] and hub.hub.searching.behind() == 0


def test_no_value_rests_in_the_list(hub: Rig) -> None:
    put(hub, one=firm(), two=person(2))
    hub.hub.searching.catch_up()
    kept = b"".join(path.read_bytes() for path in (hub.folder / "hub").rglob("*") if path.is_file())
    for value in (NAME, PERSON, "红旗餐饮", firm()["party_id"], person()["party_id"], firm()["case_code"]):
        assert value.encode() not in kept


def test_each_tick_lists_what_came_and_a_kind_without_search_by_the_day_it_was_signed(tmp_path: Path) -> None:
    with Town(tmp_path, web=False) as town:
        town.drop(row(1), row(2))
        town.hub.tick()
        assert town.hub.searching.behind() == 0 < town.hub.store.last_leaf()
        found = town.hub.records.search(account(), Asked(kind=STALL, since="2026-11-22", until="2026-11-23"))
        assert found["total"] == 2 and {row["document"] for row in found["rows"]} == {None}
        assert town.hub.records.search(account(), Asked(kind=STALL, until="2026-11-21"))["total"] == 0


# --- what is erased ---


def test_what_was_erased_is_found_no_more_and_does_not_come_back(hub: Rig) -> None:
    one, two = put(hub, one=firm(), two=person(2))
    own = account(OWN)
    assert ids(hub, own, PERSON) == [two]
    hub.hub.erasures.erase(Reference(OWN, "case/1", two), ["party", "identity"], "request", "tester")
    for _ in range(2):
        assert ids(hub, own, PERSON) == ids(hub, own, person()["party_id"]) == []
        assert ids(hub, own, person()["case_code"]) == [two] and set(ids(hub, own, kind="case/1")) == {one, two}
        seen = look(hub, own, two)
        assert states(seen)["party"] == states(seen)["identity"] == "erased" and PERSON not in texts(seen)
        audit.rebuild(hub.hub.ledger, KINDS, hub.hub.digest_key)
    hub.hub.erasures.erase(Reference(OWN, "case/1", one), [], "court", "tester", whole=True)
    for _ in range(2):
        assert ids(hub, own, NAME) == [] and ids(hub, own, kind="case/1") == [two]
        seen = look(hub, own, one)
        assert seen["erased"] and NAME not in texts(seen)
        tomb = hub.hub.records.record(own, "erasure", "hub", seen["tombstone"])
        assert one in texts(tomb["homes"])
        with pytest.raises(NotFound):
            hub.hub.records.evidence(own, "case", OWN, one)
        audit.rebuild(hub.hub.ledger, KINDS, hub.hub.digest_key)
    with pytest.raises(NotFound):
        look(hub, account(FAR, agreements=("no",)), one)


def test_what_is_erased_before_it_was_listed_is_never_listed(hub: Rig) -> None:
    (id,) = put(hub, one=person())
    hub.hub.erasures.erase(Reference(OWN, "case/1", id), ["party"], "request", "tester")
    assert ids(hub, account(OWN), PERSON) == [] and ids(hub, account(OWN), kind="case/1") == [id]


# --- one record ---


def test_each_revision_tells_what_it_changed_to_those_who_may_see_it(hub: Rig) -> None:
    (id,) = put(hub, one=person())
    put(hub, one=person(party_name="张四海", case_name="张四海占道经营案", fine_yuan="9.00", penalty_types=["02"]))
    own, peer, nobody = (look(hub, who, id)["revisions"] for who in (account(OWN), account(PEER), account()))
    changed = {each["name"]: (each["before"], each["after"]) for each in own[0]["changes"]}
    assert changed["party_name"] == ({"zh": PERSON, "en": PERSON}, {"zh": "张四海", "en": "张四海"})
    assert changed["fine_yuan"][1] == {"zh": "9.00", "en": "9.00"}
    assert [each["rev"] for each in own] == [2, 1] and own[1]["changes"] == [] and not own[1]["compared"]
    # The mask did not change: 张* was 张*.
    assert {each["name"] for each in peer[0]["changes"]} == {"fine_yuan", "penalty_types"} & changed.keys()
    assert {each["name"] for each in nobody[0]["changes"]} == {"fine_yuan", "penalty_types"} & changed.keys()


def test_codes_lists_and_objects_are_told_in_words(hub: Rig) -> None:
    (leaf,) = hub.put(OWN, "inspection/1", bodies("inspection/1", OWN, 1))
    seen = hub.hub.records.record(account(OWN), "inspection", OWN, leaf.id)
    told = {field["name"]: field["text"] for home in seen["homes"] for field in home["fields"]}
    assert told["party_type"]["zh"].endswith("）") and told["led_to_case"]["zh"] in ("是", "否")
    assert "姓名：" in told["officers"]["zh"] and "\n" in told["officers"]["zh"] and "Name: " in told["officers"]["en"]


def test_a_time_is_told_as_people_write_it_in_the_zone_of_the_hub() -> None:
    kind = KINDS["transfer/1"]
    for value, told in (
        ("2026-08-12T19:35:00+08:00", "2026-08-12 19:35"),
        ("2026-08-12T16:35:07Z", "2026-08-13 00:35:07"),
    ):
        assert worded(kind, kind.fields["sent_at"], value, ZoneInfo("Asia/Shanghai")) == {"zh": told, "en": told}
    tokyo = worded(kind, kind.fields["sent_at"], "2026-08-12T19:35:00+08:00", ZoneInfo("Asia/Tokyo"))
    assert tokyo["en"] == "2026-08-12 20:35", "a hub in another zone names that one on its pages"


def test_long_histories_come_in_pages_and_lose_no_change(hub: Rig) -> None:
    for n in range(1, 104):
        (id,) = put(hub, one=firm(violation_type=f"v{n}"))
    pages = [look(hub, account(OWN), id, number=number) for number in (1, 2, 3, 7)]
    assert {(page["last"], page["total"]) for page in pages} == {(3, 103)}
    assert [page["number"] for page in pages] == [1, 2, 3, 3]
    steps = [step for page in pages[:3] for step in page["revisions"]]
    assert [step["rev"] for step in steps] == list(range(103, 0, -1))
    assert all("violation_type" in {each["name"] for each in step["changes"]} for step in steps[:-1])


def test_provenance_leads_to_the_entry_and_every_link_is_followed(hub: Rig) -> None:
    put(hub, **{f"n{n}": firm(n) for n in range(1, 4)})
    (id,) = put(hub, one=firm(9))
    found = look(hub, account(PEER), id, check=True)["provenance"]
    entry = hub.hub.store.entry(found["ledger"]["entry"])
    assert entry.origin == OWN and found["batch"]["count"] == 1 and found["batch"]["place"] == 1
    assert found["source"]["custody"] == "custodial" and found["source"]["name"]["en"] == "Tongxiang"
    assert found["source"]["feeds"] and not found["witnesses"]["covered"] and not found["batch"]["voided"]
    assert found["checked"]["problem"] == ""
    size = hub.hub.store.size()
    assert found["ledger"]["bundle"] == f"/ledger/tile/entries/000.p/{size}" and found["ledger"]["size"] == size
    assert look(hub, account(PEER), id)["provenance"]["checked"] is None
    # A note that was changed where it rests is seen.
    with hub.hub.store.transaction():
        hub.hub.store.replace_entry(replace(entry, note=entry.note.replace(b"count 1", b"count 2")))
    assert look(hub, account(PEER), id, check=True)["provenance"]["checked"]["problem"]


def test_a_batch_that_its_origin_disowned_is_seen_to_be(hub: Rig) -> None:
    (id,) = put(hub, one=firm())
    seq = look(hub, account(PEER), id)["provenance"]["batch"]["seq"]
    hub.hub.rotate(OWN, void_from=seq)
    found = look(hub, account(PEER), id, check=True)["provenance"]
    assert found["batch"]["voided"] and "disown" in found["checked"]["problem"]


def test_evidence_holds_exactly_what_the_account_may_see_and_is_verified(hub: Rig) -> None:
    (id,) = put(hub, one=person())
    for who, groups in ((OWN, {"facts", "identity", "party", "party_masked", "source"}), (PEER, {"facts", "party_masked"})):
        bundle = hub.hub.records.evidence(account(who), "case", OWN, id)
        shown, report = evidence.check(bundle, hub.hub.trust_file())
        assert report.proved and len(bundle["disclosures"]) == len(groups) and bundle["clauses"]
        assert (PERSON in shown.values()) == (who == OWN)
    assert evidence.check(hub.hub.records.evidence(account(), "case", OWN, id), hub.hub.trust_file())
    assert hub.hub.records.evidence(account(), "case", OWN, id)["disclosures"] == []


# --- what is noted ---


def test_each_look_at_a_sealed_group_is_noted_with_what_was_shown(hub: Rig) -> None:
    (id,) = put(hub, one=person())
    about = f"case/1 {OWN} {id}"
    look(hub, account(PEER, name="peer"), id)
    look(hub, account(name="nobody"), id)
    hub.hub.records.evidence(account(PEER, name="peer"), "case", OWN, id)
    hub.hub.records.evidence(account(name="nobody"), "case", OWN, id)
    assert journal(hub, about=about) == [
        ("nobody", "evidence", about, "rev 1"), ("peer", "evidence", about, "facts party_masked rev 1"),
        ("peer", "look", about, "facts party_masked"),
    ]  # fmt: skip


def test_a_list_is_noted_once_with_the_records_whose_groups_it_showed_and_no_word_of_the_search(hub: Rig) -> None:
    one, two = put(hub, one=firm(), two=person(2))
    hub.hub.records.search(account(name="nobody"), Asked())
    hub.hub.records.search(account(OWN), Asked(PERSON))
    hub.hub.records.search(account(OWN), Asked("nothing of that name"))
    ((who, what, about, detail),) = journal(hub)
    assert (who, what, about) == ("reader", "search", "records 1")
    assert detail.split() == ["facts", "party_masked", f"case/1:{OWN}:{two}"]
    assert PERSON not in texts(journal(hub))
    (row,) = hub.hub.records.search(account(OWN), Asked(NAME))["rows"]
    assert row["party"] == NAME and row["id"] == one
    (row,) = hub.hub.records.search(account(OWN), Asked(PERSON))["rows"]
    assert row["party"] == "张*", "the full name is a look at the record"


def test_what_was_asked_is_remembered_for_its_account_alone(hub: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    records, asked = hub.hub.records, Asked(PERSON, item="33013100100101")
    token = records.remember(account(OWN), asked)
    assert records.recall(account(OWN), token) == asked
    assert records.recall(account(OWN, name="other"), token) is None and records.recall(account(OWN), "no") is None
    monkeypatch.setattr("hub.records.REMEMBERED", 3)
    for _ in range(3):
        records.remember(account(OWN), asked)
    assert records.recall(account(OWN), token) is None


def test_a_question_that_cannot_be_names_its_part(hub: Rig) -> None:
    put(hub, one=firm())
    check, choices = hub.hub.records.check, hub.hub.records.choices(account(OWN))
    assert check(Asked(NAME, "case/1", OWN, "1", "2026-01-01", "2026-12-31"), choices) == ""
    for name, value in (("kind", "case/9"), ("origin", "330999"), ("since", "2026-13-01"), ("until", "gestern"),
                        ("words", "x" * 501), ("item", "1" * 129)):  # fmt: skip
        assert check(replace(Asked(), **{name: value}), choices) in (name, "words")


def test_lists_hold_what_a_plain_reading_of_the_framework_gives(hub: Rig) -> None:
    """Against an oracle that reads every leaf and asks for each alone."""
    draw = random.Random("records")
    for code in (OWN, PEER, ABOVE, FAR, TOWN):
        hub.put(code, "case/1", bodies("case/1", code, 3))
        hub.put(code, "inspection/1", bodies("inspection/1", code, 2))
        to = draw.choice([each for each in (PEER, ABOVE, FAR) if each != code])
        hub.put(code, "transfer/1", bodies("transfer/1", code, 2, to=to))
    store = hub.hub.store
    for code in (OWN, PEER, ABOVE, FAR, TOWN, "330523"):
        wanted = set()
        for series in store.series():
            for id, known in store.walk(series.origin, series.kind):
                (held,) = store.leaves(known.number, 1)
                fields = json.loads(held.raw)["open"]
                sides = [fields[name] for name in ("from_region", "to_region") if name in fields]
                between = [code] if code.ljust(12, "0") in [side.ljust(12, "0") for side in sides] else []
                spoken = fields.get("agreement") if series.origin == "hub" else None
                decided = hub.settings.framework.decide(series.kind, series.origin, code, TODAY, spoken, between)
                wanted |= {id} if decided.shared else set()
        assert set(ids(hub, account(code))) == wanted and len(wanted) > 2
