"""Wrong framework files: every problem at once, each with line, remedy, and a word in Chinese."""

from copy import deepcopy
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.declared import DeclarationError, read_yaml
from hub.framework import from_texts, notes, parse_framework
from hub.kinds import Kind, load_kinds
from hub.note import COSIGNATURE, signer
from hub.reconcile.deadlines import deadlines_of

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "config" / "framework.yaml").read_text(encoding="utf-8")


TERMS = deadlines_of(read_yaml(ROOT / "config" / "deadlines.yaml"), None).rules


@pytest.fixture(scope="module")
def kinds() -> dict[str, Kind]:
    return load_kinds(ROOT / "config" / "kinds")


def problems(tmp_path: Path, kinds: dict[str, Kind] | None, text: str) -> list[str]:
    path = tmp_path / "framework.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        parse_framework(read_yaml(path), kinds, TERMS)
    except DeclarationError as error:
        return error.problems
    return []


def edited(*edits: tuple[str, str]) -> str:
    text = SHIPPED
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text


TONGXIANG = '"330483":    {name: {zh: 桐乡市, en: Tongxiang}, tier: county, custody: custodial}'
JOINED = '{code: "330483", joined: 2022-05-01}'
GROUPS = "groups: [facts, party_masked]"
INSPECTED = f"kind: inspection/1\n        from: all\n        to: peers\n        {GROUPS}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # the shape
        (TONGXIANG, TONGXIANG.replace("tier: county", "tier: conty"), "members.330483.tier: "),
        (TONGXIANG, TONGXIANG.replace("custody:", "custodi:"), "custodi: unknown key; did you mean custody?"),
        (TONGXIANG, TONGXIANG.replace('"', "", 2), "put it in quotes"),
        (TONGXIANG, TONGXIANG.replace("}, tier", ", fr: x}, tier"), "members.330483.name.fr: unknown key"),
        (
            TONGXIANG,
            TONGXIANG.replace("custodial}", "self, first_key: abc}"),
            "first_key: expected the base64 SHA-256",
        ),
        (
            TONGXIANG,
            TONGXIANG.replace("custodial}", "self, http_keys: [x+00+AA==]}"),
            "http_keys.0: expected a vkey",
        ),
        (JOINED, '{code: "330483", joined: 2022-02-30}', "members.2.joined: expected a date like 2022-05-01"),
        ('night: "02:00"', 'night: "2 am"', 'jiahu.night: expected a time of day in quotes like "02:00"'),
        ('night: "02:00"', 'night: "02:60"', "jiahu.night: expected a time of day"),
        ("freshness: 24 hours", "freshness: 24 hrs", 'freshness: expected a time like "30 minutes"'),
        ("freshness: 24 hours", "freshness: 2 working days", "freshness: expected a time like"),
        ("when_ended: keep", "when_ended: burn", "jiahu.when_ended: "),
        ("decision: 90 days", "decision: ninety days", 'deadlines.decision: expected a term like "10 days"'),
        ("clause: 案件信息互通互认\n", "\n", "clause: is missing"),
        (
            "        only: correspondent",
            "        only: friends",
            "only: expected correspondent, or leave it out",
        ),
        ("from: all", "from: everyone", "from: expected all, {tier: county}"),
        ("from: all", "from: peers", "from: expected all, {tier: county}"),
        ("from: all", "from: {codes: [330483]}", "from: expected codes in quotes"),
        # what the shape cannot say
        (TONGXIANG, TONGXIANG.replace('"330483"', '"33 0483"'), "members.33 0483: not a member's code"),
        (TONGXIANG, TONGXIANG.replace('"330483"', '"hub"'), "members.hub: not a member's code"),
        (
            JOINED,
            '{code: "330438", joined: 2022-05-01}',
            "330438 is not under `members`; did you mean 330483?",
        ),
        (JOINED, '{code: "330483", joined: 2022-04-30}', "joins while the agreement is not in force"),
        (JOINED, JOINED[:-1] + ", left: 2022-04-30}", "members.2.left: leaves before it joins"),
        (JOINED, f"{JOINED}\n      - {JOINED}", "members.3: the dates of 330483 overlap an earlier entry"),
        (
            JOINED,
            f'{JOINED[:-1]}, left: 2023-01-01}}\n      - {{code: "330483", joined: 2023-01-01}}',
            "members.3: the dates of 330483 overlap an earlier entry",
        ),
        (
            "in_force: 2022-05-01",
            "in_force: 2022-05-01\n    until: 2021-01-01",
            "jiahu.until: ends before it begins",
        ),
        ("decision: 90 days", "decisions: 90 days", "not a deadline of deadlines.yaml; did you mean decision?"),
        ("  jiahu:", "  Jia-Hu:", "agreements.Jia-Hu: not an agreement's name"),
        ("kind: case/1", "kind: case/2", "kind: unknown kind 'case/2'; did you mean case/1?"),
        ("kind: case/1", "kind: framework/1", "kind: records of the hub are not shared by rule"),
        ("to: peers", "to: {tier: conty}", "to: 'conty' is not a tier; did you mean county?"),
        ("to: peers", 'to: {codes: ["341882"]}', "to: '341882' is no member of jiahu; known here: 330400"),
        (
            GROUPS,
            "groups: [facts, party_maskd]",
            "case/1 has no group 'party_maskd'; did you mean party_masked?",
        ),
        (GROUPS, "groups: [facts, facts]", "groups.1: named twice"),
        (
            GROUPS,
            "groups: [facts, party_name]",
            "'party_name' is a field, and a rule shares whole groups; name its group",
        ),
        # open fields always travel
        (GROUPS, "groups: [facts, decided_on]", "'decided_on' is open in case/1: open fields always travel"),
        (GROUPS, "groups: [facts, open]", "'open' is open in case/1: open fields always travel"),
    ],
)
def test_says_what_is_wrong_and_where(
    tmp_path: Path, kinds: dict[str, Kind], old: str, new: str, expected: str
) -> None:
    found = [each for each in problems(tmp_path, kinds, edited((old, new))) if expected in each]
    line = SHIPPED[: SHIPPED.index(old)].count("\n") + 1
    reach = range(line - 5, line) if "is missing" in expected else range(line, line + 2)
    assert found and int(found[0].split(":")[1]) in reach


def test_an_http_key_may_have_a_last_day_which_the_ledger_tells(tmp_path: Path, kinds: dict[str, Kind]) -> None:
    one, other = (str(signer(name, Ed25519PrivateKey.generate()).vkey) for name in ("a.example", "b.example"))
    keys = f'http_keys: ["{one}", {{key: "{other}", until: 2027-06-30}}]'
    path = tmp_path / "framework.yaml"
    path.write_text(edited(("en: Tongxiang}, tier: county", f"en: Tongxiang}}, {keys}, tier: county")), encoding="utf-8")
    found = parse_framework(read_yaml(path), kinds)
    member = found.members["330483"]
    assert member.http_keys == (one, other) and member.http_until == {other: date(2027, 6, 30)}
    assert from_texts({"jiahu": found.text("jiahu")}).members["330483"] == member
    for wrong, told in (("2027-06-31", "a date like 2022-05-01"), ("soon", "a date like 2022-05-01")):
        text = edited(("en: Tongxiang}, tier: county", f"en: Tongxiang}}, {keys.replace('2027-06-30', wrong)}, tier: county"))
        [problem] = problems(tmp_path, kinds, text)
        assert "members.330483.http_keys.1" in problem and told in problem


def test_one_key_belongs_to_one_member(tmp_path: Path, kinds: dict[str, Kind]) -> None:
    key = f"http_keys: [{signer('a.example', Ed25519PrivateKey.generate()).vkey}]"
    text = edited(
        ("en: Tongxiang}, tier: county", f"en: Tongxiang}}, {key}, tier: county"),
        ("en: Nanxun}, tier: county", f"en: Nanxun}}, {key}, tier: county"),
    )
    [found] = problems(tmp_path, kinds, text)
    assert "members.330503.http_keys.0: also the key of 330483" in found


def test_every_problem_at_once_and_each_with_a_word_in_chinese(tmp_path: Path, kinds: dict[str, Kind]) -> None:
    text = edited(
        ("decision: 90 days", "decisions: 90 days"),
        ("kind: case/1", "kind: cases/1"),
        (JOINED, '{code: "330438", joined: 2022-05-01}'),
        (INSPECTED, INSPECTED.replace("[facts, party_masked]", "[open]")),
        ("kind: transfer/1", "kind: reconciliation/1"),
        ("        groups: []", "        groups: [nobody]"),
    )
    found = problems(tmp_path, kinds, text)
    assert len(found) == 6
    for each in found:
        first, second = each.split("\n")
        assert first.startswith("framework.yaml:") and int(first.split(":")[1])
        assert any("\u4e00" <= c <= "\u9fff" for c in second)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("freshness: 24 hours", "freshness: 24 hrs"),
        ("when_ended: keep", "when_ended: burn"),
        (TONGXIANG, TONGXIANG.replace("tier: county", "tier: conty")),
        (TONGXIANG, TONGXIANG.replace("custodial}", "self, first_key: abc}")),
        (JOINED, '{code: "330483", joined: 2022-02-30}'),
        ("decision: 90 days", "decision: ninety days"),
    ],
)
def test_what_has_not_its_form_hides_nothing_else_and_draws_no_blame_on_others(
    tmp_path: Path, kinds: dict[str, Kind], old: str, new: str
) -> None:
    alone = problems(tmp_path, kinds, edited((old, new)))
    assert len(alone) == 1
    others = (GROUPS, "groups: [facts, party_maskd]"), ("to: peers", "to: {tier: conty}")
    found = problems(tmp_path, kinds, edited((old, new), *others))
    assert found[0] == alone[0] and len(found) == 3
    assert {"party_maskd" in each for each in found[1:]} == {True, False}


def test_a_share_that_has_not_its_form_leaves_those_before_it_judged(tmp_path: Path, kinds: dict[str, Kind]) -> None:
    text = edited((GROUPS, "groups: [fact, party_masked]"), (INSPECTED, INSPECTED.replace("from: all", "from: everyone")))
    found = problems(tmp_path, kinds, text)
    assert len(found) == 2 and "from: expected all" in found[0] and "no group 'fact'" in found[1]


def test_where_kinds_could_not_be_read_their_names_are_not_blamed(tmp_path: Path) -> None:
    assert problems(tmp_path, None, edited(("kind: case/1", "kind: cases/1"), (GROUPS, "groups: [open]"))) == []


def test_no_member_or_agreement_of_one_is_refused(tmp_path: Path, kinds: dict[str, Kind]) -> None:
    text = edited(
        ('      - {code: "330522", joined: 2022-09-01}\n', ""),
        ('      - {code: "330523", joined: 2022-09-01}\n', ""),
    )
    assert any("zhewan.members: an agreement needs two members" in each for each in problems(tmp_path, kinds, text))
    for text in ("", "members: {}\n", "[]\n", "members: {}\nagreements: []\n"):
        assert problems(tmp_path, kinds, text)


READ = read_yaml(ROOT / "config" / "framework.yaml")
PLACES = sorted(READ.lines, key=str)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["all", "330483", "case/1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_junk_in_any_place_is_a_problem_never_a_crash(data: st.DataObject) -> None:
    doc = replace(READ, value=deepcopy(READ.value))
    at = data.draw(st.sampled_from(PLACES))
    junk = data.draw(JUNK)
    value = junk
    if at:
        value = doc.value
        parent = value
        for key in at[:-1]:
            parent = parent[key]
        parent[at[-1]] = junk
    try:
        parse_framework(replace(doc, value=value), None)
    except DeclarationError as error:
        assert error.problems


def _witnesses(quorum: int, *numbers: int) -> str:
    keys = [
        f'{{name: w{n}, vkey: "{signer(f"w{n}", Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32), COSIGNATURE).vkey}"}}'
        for n in numbers
    ]
    return f"\nwitnesses:\n  quorum: {quorum}\n  keys: [{', '.join(keys)}]\n"


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        (_witnesses(2, 1, 2, 3), ""),
        (_witnesses(1, 1, 2), "no more than half"),
        (_witnesses(2, 1), "more than there are witnesses"),
        (_witnesses(2, 1, 1), "a witness or a key twice"),
        (_witnesses(0, 1), "quorum"),
        ("\nwitnesses: {quorum: 1, keys: [{name: a b, vkey: x}]}\n", "the vkey of a witness key"),
    ],
)
def test_a_quorum_is_more_than_half_of_witnesses_that_are_there(
    tmp_path: Path, kinds: dict[str, Kind], section: str, wanted: str
) -> None:
    found = problems(tmp_path, kinds, edited() + section)
    assert (found == []) if not wanted else any(wanted in each and "framework.yaml:" in each for each in found)


def test_the_witness_policy_is_part_of_what_the_ledger_says(tmp_path: Path, kinds: dict[str, Kind]) -> None:
    path = tmp_path / "framework.yaml"
    path.write_text(edited() + _witnesses(2, 1, 2, 3))
    read = parse_framework(read_yaml(path), kinds)
    assert read.witnessing is not None and read.witnessing.tolerated == 0
    texts = {name: read.text(name) for name in read.agreements}
    assert from_texts(texts).witnessing == read.witnessing
    assert any("2 of 3 must cosign" in each for each in notes(read, date(2026, 11, 22)))
