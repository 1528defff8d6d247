"""The framework's decisions against a naive oracle, its text there and back, differences, and as shipped."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.declared import Doc, read_yaml
from hub import framework as rules
from hub.canonical import b64, decode, encode
from hub.errors import RecordError
from hub.framework import HUB, NOTHING, Framework, from_texts, parse_framework
from hub.kinds import load_kinds
from hub.reconcile.deadlines import parse_term

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Kind:
    groups: tuple[str, ...]
    fields: dict[str, Any] = field(default_factory=dict)


KINDS = {
    "case/1": Kind(("facts", "party", "party_masked")),
    "letter/1": Kind(("facts", "party")),
    "framework/1": Kind(("terms",)),
}
TIERS = {
    "330400": "city",
    "330500": "city",
    "330483": "county",
    "330503": "county",
    "330483100": "town",
    "330503102": "town",
}
ABOVE = {"330483": "330400", "330503": "330500", "330483100": "330483", "330503102": "330503"}
DAYS = [f"2024-01-{day:02}" for day in range(1, 13)]


# --- frameworks at random, as their YAML says them ---


@st.composite
def stays(draw: st.DrawFn, code: str) -> list[dict[str, str]]:
    """One stay, or one that ended and a second one later."""
    bounds = sorted(draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True)))
    found = []
    for n in range(0, len(bounds), 2):
        found.append({"code": code, "joined": bounds[n]} | ({"left": bounds[n + 1]} if n + 1 < len(bounds) else {}))
    return found


def selectors(codes: list[str], *words: str) -> st.SearchStrategy[Any]:
    some = st.lists(st.sampled_from(codes), min_size=1, max_size=3)
    return st.one_of(
        st.sampled_from(words),
        st.sampled_from(["city", "county", "town"]).map(lambda tier: {"tier": tier}),
        some.map(lambda codes: {"codes": codes}),
        some.map(lambda codes: {"except": codes}),
    )


@st.composite
def shares(draw: st.DrawFn, codes: list[str]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["case/1", "letter/1"]))
    found = {
        "kind": kind,
        "from": draw(selectors(codes, "all")),
        "to": draw(selectors(codes, "all", "peers", "superior")),
        "groups": draw(st.lists(st.sampled_from(KINDS[kind].groups), unique=True)),
        "clause": draw(st.sampled_from(["第一条", "第二条", "第三条"])),
        "purpose": "p",
        "legal_basis": "l",
    }
    return found | ({"only": "correspondent"} if draw(st.booleans()) else {})


@st.composite
def frameworks(draw: st.DrawFn) -> dict[str, Any]:
    agreements = {}
    for name in draw(st.sampled_from([["one"], ["one", "two"]])):
        codes = draw(st.lists(st.sampled_from(sorted(TIERS)), min_size=2, max_size=6, unique=True))
        agreements[name] = {
            "name": {"zh": "协议", "en": name},
            "basis": "b",
            "in_force": "2024-01-01",
            "night": "02:00",
            "freshness": draw(st.sampled_from(["24 hours", "90 minutes", "2 days"])),
            "when_ended": "keep",
            "members": [stay for code in codes for stay in draw(stays(code))],
            "shares": draw(st.lists(shares(codes), max_size=5)),
            "deadlines": draw(st.sampled_from([{}, {"decision": "90 days", "service": "7 working days"}])),
        }
        if draw(st.booleans()):
            agreements[name]["until"] = "2024-01-12"
    members = {
        code: {"name": {"zh": "名", "en": code}, "tier": tier, "custody": "custodial"} for code, tier in TIERS.items()
    }
    return {"members": members, "agreements": agreements}


def parse(plain: dict[str, Any]) -> Framework:
    return parse_framework(Doc(Path("framework.yaml"), plain), KINDS)


# --- the oracle: straight from the YAML, text compared as text ---


def present(agreement: dict[str, Any], code: str, on: str) -> bool:
    if on < agreement["in_force"] or on > agreement.get("until", "9999"):
        return False
    return any(s["code"] == code and s["joined"] <= on <= s.get("left", "9999") for s in agreement["members"])


def meant(selector: Any, code: str, origin: str) -> bool:
    if selector == "all":
        return True
    if selector == "peers":
        return TIERS[code] == TIERS[origin]
    if selector == "superior":
        return ABOVE.get(origin) == code
    if "tier" in selector:
        return bool(TIERS[code] == selector["tier"])
    return code in selector["codes"] if "codes" in selector else code not in selector["except"]


def naive(
    plain: dict[str, Any],
    kind: str,
    origin: str,
    to: str,
    on: str,
    narrow: str | None,
    between: tuple[str, ...],
) -> tuple[bool, set[str], set[str]]:
    if origin == to:
        known = kind in KINDS and (to in TIERS or to == "hub")
        return known, set(KINDS[kind].groups) if known else set(), {"own record"} if known else set()
    groups: set[str] = set()
    clauses: set[str] = set()
    for name, agreement in plain["agreements"].items():
        if narrow not in (None, name) or not present(agreement, to, on):
            continue
        if origin == "hub":
            if narrow == name and kind in KINDS:
                return True, set(KINDS[kind].groups), {f"{name}: {rules.TO_MEMBERS}"}
            continue
        for share in agreement["shares"]:
            if (
                share["kind"] == kind
                and present(agreement, origin, on)
                and meant(share["from"], origin, origin)
                and meant(share["to"], to, origin)
                and ("only" not in share or to in between)
            ):
                groups |= set(share["groups"])
                clauses.add(f"{name}: {share['clause']}")
    return bool(clauses), groups, clauses


CODES = [*sorted(TIERS), HUB, "999999"]
ASKED = st.tuples(
    st.sampled_from([*KINDS, "other/1"]),
    st.sampled_from(CODES),
    st.sampled_from(CODES),
    st.sampled_from(["2023-12-31", *DAYS, "2024-02-01"]),
    st.sampled_from([None, "one", "two", "three"]),
    st.lists(st.sampled_from(CODES), max_size=2).map(tuple),
)


@settings(max_examples=80, deadline=None)
@given(frameworks(), st.lists(ASKED, min_size=20, max_size=60))
def test_decides_as_the_naive_reading_of_the_file_does(plain: dict[str, Any], asked: list[Any]) -> None:
    framework = parse(plain)
    for kind, origin, to, on, narrow, between in asked:
        got = framework.decide(kind, origin, to, date.fromisoformat(on), narrow, between)
        shared, groups, clauses = naive(plain, kind, origin, to, on, narrow, between)
        assert (got.shared, got.groups, set(got.clauses)) == (shared, groups, clauses)
        assert len(got.clauses) == len(set(got.clauses))


class Glance(NamedTuple):
    kind: str
    origin: str
    op: str
    open: dict[str, Any]


REGIONS = st.sampled_from(["330483000000", "330483", "330503000000", "330522", "999999"])


@settings(max_examples=60, deadline=None)
@given(frameworks(), st.lists(ASKED, min_size=10, max_size=30), REGIONS, REGIONS, st.sampled_from(["put", "retract"]))
def test_a_record_is_decided_by_its_own_open_fields(
    plain: dict[str, Any], asked: list[Any], one: str, other: str, op: str
) -> None:
    framework = parse(plain)
    for kind, origin, to, on, narrow, _ in asked:
        day, fields = date.fromisoformat(on), {"from_region": one, "to_region": other, "agreement": narrow}
        found = Glance(kind, origin, op, {name: value for name, value in fields.items() if value is not None})
        between = (to,) if op == "retract" else (one[:6], other[:6])
        spoken = narrow if origin == HUB else None
        assert framework.decide_on(found, to, day) == framework.decide(kind, origin, to, day, spoken, between)
        # What is kept of the open fields decides alike, and never more than is needed.
        kept = rules.decisive(origin, found.open)
        assert framework.decide_on(found._replace(open=kept), to, day) == framework.decide_on(found, to, day)
        assert rules.decisive(origin, kept) == kept
        # Narrowed to agreements: their union, and of the hub's records those that speak of one of them.
        for within in (("one",), ("one", "two")):
            got = framework.decide_on(found, to, day, within)
            if origin == HUB and to != HUB:
                wanted = [framework.decide(kind, HUB, to, day, spoken)] if narrow in (None, *within) else []
            else:
                wanted = [framework.decide(kind, origin, to, day, each, between) for each in within]
            assert got == rules.union(wanted)


@settings(max_examples=40, deadline=None)
@given(frameworks(), st.sampled_from(DAYS))
def test_the_text_on_the_ledger_rebuilds_the_framework(plain: dict[str, Any], on: str) -> None:
    day = date.fromisoformat(on)
    pin = b64(bytes(32))
    framework = parse(plain).with_pins({"330483": pin, HUB: pin}, {})
    texts = {name: framework.text(name) for name in framework.agreements}
    again = from_texts(texts)
    assert {name: again.text(name) for name in texts} == texts
    assert again.agreements == framework.agreements
    assert all(again.members[code] == framework.members[code] for code in again.members)
    for to in again.members:
        for origin in again.members:
            for kind in again.groups:
                assert again.decide(kind, origin, to, day) == framework.decide(kind, origin, to, day)


@settings(max_examples=40, deadline=None)
@given(frameworks(), st.sampled_from(DAYS))
def test_a_partner_sees_exactly_what_is_decided_for_it(plain: dict[str, Any], on: str) -> None:
    framework, day = parse(plain), date.fromisoformat(on)
    for to in TIERS:
        view = framework.view_for(to, day)
        encode(view)
        for seen in view["agreements"]:
            for origin in set(TIERS) - {to}:
                for kind in ("case/1", "letter/1"):
                    rows = [r for r in seen["receives"] if (r["from"], r["kind"]) == (origin, kind)]
                    decided = framework.decide(kind, origin, to, day, seen["agreement"], (to,))
                    assert {g for row in rows for g in row["groups"]} == decided.groups
                    assert bool(rows) == decided.shared
                    rows = [r for r in seen["gives"] if (r["to"], r["kind"]) == (origin, kind)]
                    decided = framework.decide(kind, to, origin, day, seen["agreement"], (origin,))
                    assert {g for row in rows for g in row["groups"]} == decided.groups


@settings(max_examples=40, deadline=None)
@given(frameworks(), frameworks(), st.sampled_from(DAYS))
def test_the_difference_turns_the_old_decisions_into_the_new(old: dict[str, Any], new: dict[str, Any], on: str) -> None:
    day = date.fromisoformat(on)
    before, after = parse(old), parse(new)
    assert rules.diff(before, before, day) == []
    changes = {(c.to, c.origin, c.kind, c.agreement, c.direct): c for c in rules.diff(before, after, day)}

    def given_by(framework: Framework, *key: Any) -> frozenset[str]:
        to, origin, kind, name, direct = key
        if name not in framework.agreements:
            return frozenset()
        plain = framework.decide(kind, origin, to, day, name)
        decided = framework.decide(kind, origin, to, day, name, (to,))
        open_ = frozenset(["open"])
        mine = plain.groups | open_ if plain.shared else frozenset()
        return ((decided.groups | open_ if decided.shared else frozenset()) - mine) if direct else mine

    for to in TIERS:
        for origin in (set(TIERS) | {HUB}) - {to}:
            for kind in ("framework/1",) if origin == HUB else ("case/1", "letter/1"):
                for name in ("one", "two"):
                    for direct in (False, True):
                        key = (to, origin, kind, name, direct)
                        had, has = given_by(before, *key), given_by(after, *key)
                        change = changes.pop(key, None)
                        gained, lost = (change.gained, change.lost) if change else (frozenset(), frozenset())
                        assert (gained, lost) == (has - had, had - has)
    assert not changes


def test_a_difference_between_two_days_shows_who_joined() -> None:
    framework = shipped()
    joined = rules.diff(framework, framework, date(2022, 9, 1), was=date(2022, 8, 31))
    assert {change.agreement for change in joined} == {"zhewan"} and not any(change.lost for change in joined)
    assert rules.diff(framework, framework, date(2022, 9, 2), was=date(2022, 9, 1)) == []


def test_a_difference_says_what_another_agreement_gives_as_well() -> None:
    share = {
        "kind": "case/1",
        "from": "all",
        "to": "all",
        "groups": ["facts"],
        "clause": "c",
        "purpose": "p",
        "legal_basis": "l",
    }
    plain = {
        "name": {"zh": "甲", "en": "a"}, "basis": "b", "in_force": "2024-01-01", "night": "02:00",
        "freshness": "24 hours", "when_ended": "keep",
        "members": [{"code": "330483"}, {"code": "330503"}], "shares": [share],
    }  # fmt: skip
    members = {
        code: {"name": {"zh": "名", "en": code}, "tier": "county", "custody": "self"} for code in ("330483", "330503")
    }
    both = parse({"members": members, "agreements": {"one": plain, "two": plain}})
    less = parse({"members": members, "agreements": {"one": plain, "two": plain | {"shares": []}}})
    lost = rules.diff(both, less, date(2024, 1, 2))
    assert [(c.to, c.origin, c.lost, c.elsewhere) for c in lost] == [
        ("330483", "330503", {"facts", "open"}, {"facts", "open"}),
        ("330503", "330483", {"facts", "open"}, {"facts", "open"}),
    ]
    assert rules.diff_lines(lost, both, "en")[0] == (
        "two: 330483 330483 ← 330503 330503: case/1 -facts -open; another agreement shares facts, open"
    )
    assert "另有协议共享" in rules.diff_lines(lost, both)[0]


def test_a_text_that_is_not_one_is_refused() -> None:
    framework = shipped()
    text = framework.text("jiahu")
    for bad in (b"", b"{}", b"[]", text[:-1], text.replace(b'"keep"', b'"hold"'), b" " + text):
        with pytest.raises(RecordError):
            from_texts({"jiahu": bad})
    with pytest.raises(RecordError):
        from_texts({"zhewan": text})
    foreign = decode(text)
    foreign["jurisdictions"].pop()
    with pytest.raises(RecordError):
        from_texts({"jiahu": encode(foreign)})


def test_pins_are_part_of_the_text_and_only_members_have_them() -> None:
    framework, pin = shipped(), b64(bytes(32))
    pinned = framework.with_pins({"330521": pin, HUB: pin}, {})
    assert pinned.text("jiahu") != framework.text("jiahu")
    assert pinned.pins() == {"330521": pin, HUB: pin} == from_texts({"jiahu": pinned.text("jiahu")}).pins()
    assert pinned.view_for("330483", TODAY)["pins"] == pinned.pins()
    with pytest.raises(ValueError, match="999999"):
        framework.with_pins({"999999": pin}, {})


# --- the shipped agreements ---

TODAY = date(2026, 11, 22)


def shipped() -> Framework:
    return parse_framework(read_yaml(ROOT / "config" / "framework.yaml"), load_kinds(ROOT / "config" / "kinds"))


def test_tiers_share_with_their_own_and_upwards() -> None:
    framework = shipped()
    peers = {("330400", "330500"), ("330483", "330503"), ("330521", "330483"), ("330483100", "330503102")}
    for origin, to in peers | {(to, origin) for origin, to in peers}:
        assert framework.decide("case/1", origin, to, TODAY).groups == {"facts", "party_masked"}
    for origin, to in (
        ("330483", "330400"),
        ("330503", "330500"),
        ("330483100", "330483"),
        ("330503102", "330503"),
    ):
        assert framework.decide("case/1", origin, to, TODAY).groups == {"party_masked"}
        assert framework.decide("inspection/1", origin, to, TODAY) == (
            True,
            frozenset(),
            ("jiahu: 上级统筹与监督",),
        )
        assert framework.decide("case/1", to, origin, TODAY) == NOTHING
    assert framework.decide("case/1", "330483100", "330503", TODAY) == NOTHING


def test_the_two_cooperations_do_not_leak_into_each_other() -> None:
    framework = shipped()
    jiahu = {stay.code for stay in framework.agreements["jiahu"].members}
    zhewan = {stay.code for stay in framework.agreements["zhewan"].members}
    assert (len(jiahu), len(zhewan), jiahu & zhewan) == (7, 3, set())
    for a in jiahu:
        for b in zhewan:
            for kind in framework.groups:
                for pair in ((a, b), (b, a)):
                    assert framework.decide(kind, *pair, TODAY, None, pair) == NOTHING


def test_nothing_before_the_cooperation_began() -> None:
    framework = shipped()
    assert framework.decide("case/1", "330483", "330503", date(2022, 4, 30)) == NOTHING
    assert framework.decide("case/1", "330483", "330503", date(2022, 5, 1)).shared
    assert framework.decide("case/1", "341882", "330522", date(2022, 8, 31)) == NOTHING
    assert framework.decide("case/1", "341882", "330522", date(2022, 9, 1)).shared


def test_first_and_last_days_are_both_inside(tmp_path: Path) -> None:
    text = (ROOT / "config" / "framework.yaml").read_text(encoding="utf-8")
    text = text.replace("in_force: 2022-09-01", "in_force: 2022-09-01\n    until: 2024-12-31")
    text = text.replace(
        '{code: "330523", joined: 2022-09-01}', '{code: "330523", joined: 2022-10-01, left: 2023-06-30}'
    )
    path = tmp_path / "framework.yaml"
    path.write_text(text, encoding="utf-8")
    framework = parse_framework(read_yaml(path), load_kinds(ROOT / "config" / "kinds"))
    for code, day, inside in (
        ("341882", "2022-08-31", False), ("341882", "2022-09-01", True), ("341882", "2024-12-31", True),
        ("341882", "2025-01-01", False), ("330523", "2022-09-30", False), ("330523", "2022-10-01", True),
        ("330523", "2023-06-30", True), ("330523", "2023-07-01", False),
    ):  # fmt: skip
        assert framework.decide("case/1", "330522", code, date.fromisoformat(day)).shared is inside
        assert framework.decide("case/1", code, "330522", date.fromisoformat(day)).shared is inside


def test_full_names_and_numbers_travel_only_between_the_two_sides_of_a_letter() -> None:
    framework = shipped()
    kinds = load_kinds(ROOT / "config" / "kinds")
    for kind in ("case/1", "inspection/1", "transfer/1"):
        for origin in framework.members:
            for to in set(framework.members) - {origin}:
                assert not framework.decide(kind, origin, to, TODAY).groups & {"party", "identity", "source"}
    letter = {"from_region": "330483", "to_region": "330503000000"}
    between = rules.correspondents(letter)
    assert between == ("330483", "330503")
    full = set(kinds["transfer/1"].groups) - {"source"}
    assert framework.decide("transfer/1", "330483", "330503", TODAY, None, between).groups == full
    assert framework.decide("transfer/1", "330503", "330483", TODAY, None, between).groups == full
    assert framework.decide("transfer/1", "330483", "330521", TODAY, None, between).groups == set()
    assert rules.correspondents({"region_code": "330483"}) == ()
    assert rules.correspondents({"to_region": "330483100000"}) == ("330483100",)


def test_the_shipped_agreements_are_worth_two_notes() -> None:
    notes = rules.notes(shipped(), TODAY)
    assert [note.split(" signs")[0].split(" are")[0] for note in notes] == ["no witnesses", "Deqing 330521"]
    custody = {code: member.custody for code, member in shipped().members.items()}
    assert sorted(custody.values()) == ["custodial"] * 9 + ["self"] and custody["330521"] == "self"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("30 minutes", "30 minutes"),
        ("1 hour", "1 hour"),
        ("1 hours", "1 hour"),
        ("10 days", "10 days"),
        ("5 working days", "5 working days"),
    ],
)
def test_terms_read_as_people_write_them(text: str, plain: str) -> None:
    term = parse_term(text)
    assert str(term) == plain and parse_term(plain) == term


@pytest.mark.parametrize(
    "text",
    ["", "0 days", "10", "10 wd", "1.5 hours", "10  days", "１０ days", "-1 days", "10 days\n", "1_0 days"],
)
def test_other_spellings_of_terms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="term"):
        parse_term(text)
