"""Declaring kinds: what the shipped files hold, a new kind in one file, and every problem told at once."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.declared import DeclarationError, read_yaml
from hub.errors import KindError
from hub.kinds import Kind, load_kinds, parse_kind
from hub.kinds.vocabulary import TYPES
from hub.record import content_digest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "config" / "kinds"
KINDS = load_kinds(FOLDER)

# The lists of fields that were agreed on, besides those that tell of the source system.
CASE = """
case_code case_name item_code case_source inspection_code procedure agency_name agency_uscc
entrusted_name entrusted_code region_code party_type party_name party_id_type party_id legal_rep_name
legal_rep_id_type legal_rep_id violation_type facts basis filed_on decided_on served_on closed_on stage
hearing legal_review collective major criminal doc_no doc_no_norm penalty_types penalty_text fine_yuan
confiscated_income_yuan confiscated_goods_yuan paid_yuan licence_name licence_no is_public
no_public_reason publish_on publish_end public_status withdraw_reason review_status litigation_status
exec_method exec_result no_penalty attachments
"""
INSPECTION = """
check_code check_name item_code check_list_code plan_id joint_task_id agency_name agency_uscc region_code
party_type party_name party_id_type party_id object_type object_name reg_address op_address check_form
check_type check_mode result_code result_raw result_text checked_at reported_at reporter officers items
led_to_case attachments
"""
TRANSFER = """
letter_no transfer_kind from_agency to_agency from_region to_region case_code party_type party_name
party_id_type party_id filed_on cause reason legal_basis request_items reply_due materials goods approver
approved_at sent_at signed_by signed_at decision decision_reason forwarded_to filed_case_code result_text
result_at state due_at reminders extended_to extended_for
"""


@pytest.mark.parametrize(("name", "fields"), [("case/1", CASE), ("inspection/1", INSPECTION), ("transfer/1", TRANSFER)])
def test_the_agreed_fields_are_declared(name: str, fields: str) -> None:
    assert set(fields.split()) <= set(KINDS[name].fields)
    extra = {field for field in KINDS[name].fields if field not in fields.split()}
    assert {field for field in extra if not field.startswith(("source_", "legal_rep_", "entrusted_"))} == set()


def test_no_open_field_can_hold_words_about_a_person() -> None:
    for kind in KINDS.values():
        for field in kind.fields.values():
            assert not field.is_open or TYPES[field.type].may_be_open
            assert field.type not in ("text", "texts", "id_number", "list") or field.group in kind.groups


def test_names_and_numbers_of_people_stand_in_personal_groups() -> None:
    for kind in KINDS.values():
        for name, field in kind.fields.items():
            if field.type == "id_number" or name.startswith(("party_name", "legal_rep_name")):
                assert field.group in kind.personal


def test_code_tables_of_one_name_are_the_same_in_every_kind() -> None:
    seen: dict[str, Any] = {}
    for kind in KINDS.values():
        for table, codes in kind.codes.items():
            assert seen.setdefault(table, codes) == codes, f"{table} in {kind.name}"


def test_every_label_is_chinese_and_english() -> None:
    for kind in KINDS.values():
        labels = [kind.label, *kind.group_labels.values()]
        for field in kind.fields.values():
            labels += [field.label, *(inner.label for inner in field.of.values())]
        labels += [label for codes in kind.codes.values() for label in codes.values()]
        assert all("\u4e00" <= label["zh"][0] <= "\u9fff" or label["zh"][0].isascii() for label in labels)
        assert all(label["en"].isascii() or "’" in label["en"] for label in labels)


def test_what_reconciliation_and_framework_need_is_open() -> None:
    assert KINDS["case/1"].fields["decided_on"].is_open
    assert KINDS["inspection/1"].fields["checked_at"].is_open
    assert all(KINDS["framework/1"].fields[name].is_open for name in ("agreement", "version", "in_force_on", "digest"))


# ---- a new kind is one file ----

LABOUR = """
kind: labour_case/1
label: {zh: 劳动法令违反公表, en: Published labour law case}
groups:
  case: {label: {zh: 事案, en: Case}}
  firm: {label: {zh: 企业, en: Firm}, personal: true}
codes: {}
fields:
  published_on: {type: date, group: open, required: true, label: {zh: 公表日, en: Published on}}
  updated_on:   {type: date, group: open, volatile: true, label: {zh: 最終更新日, en: Last updated}}
  name:         {type: text, max: 300, group: firm, required: true, label: {zh: 企业名称, en: Firm}}
  place:        {type: text, max: 300, group: firm, label: {zh: 所在地, en: Place}}
  law:          {type: text, max: 300, lines: true, group: case, label: {zh: 违反法条, en: Law broken}}
  summary:      {type: text, max: 3000, lines: true, group: case, label: {zh: 事案概要, en: Summary}}
rules:
  - {order: [published_on, updated_on]}
"""
RESTAURANT = """
kind: restaurant/1
label: {zh: 餐饮检查, en: Restaurant inspection}
groups: {facts: {label: {zh: 事实, en: Facts}}}
fields:
  business:  {type: identifier, group: open, required: true, label: {zh: 商户, en: Business}}
  date:      {type: date, group: open, required: true, label: {zh: 日期, en: Date}}
  score:     {type: integer, min: 0, max: 100, group: open, label: {zh: 得分, en: Score}}
  class:     {type: text, group: facts, label: {zh: 说明, en: Description}}
"""


def kind_of(tmp_path: Path, text: str, name: str = "new.yaml") -> Kind:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return parse_kind(read_yaml(path))


def test_a_kind_of_another_country_is_one_file(tmp_path: Path) -> None:
    kind = kind_of(tmp_path, LABOUR)
    body = {
        "published_on": "2017-05-10",
        "updated_on": "2017-06-01",
        "name": "（株）某",
        "place": "北海道札幌市",
        "law": "労働安全衛生法第20条",
        "summary": "㈱某",
    }
    kind.accept(body)
    open_, groups = kind.split(body)
    assert set(open_) == {"published_on", "updated_on"} and set(groups) == {"case", "firm"}
    later = body | {"updated_on": "2018-01-01"}
    assert content_digest(bytes(32), kind, body) == content_digest(bytes(32), kind, later)
    with pytest.raises(KindError):
        kind.accept(body | {"updated_on": "2017-05-09"})


def test_the_content_digest_is_over_where_fields_stand_and_what_they_hold(tmp_path: Path) -> None:
    kind = kind_of(tmp_path, LABOUR)
    body = {"published_on": "2017-05-10", "updated_on": "2017-06-01", "name": "（株）某", "summary": "㈱某"}
    lasting = {name: value for name, value in body.items() if name != "updated_on"}
    places = "\n".join(sorted(f"{name} {kind.fields[name].group}" for name in lasting))
    plain = json.dumps(lasting, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    essence = hashlib.sha256(places.encode()).digest()[:16] + plain
    mac = hmac.new(b"k" * 32, kind.name.encode() + b"\0" + essence, "sha256").digest()[:16]
    assert content_digest(b"k" * 32, kind, body) == mac
    # A field that moves to another group is sealed anew; one that a record does not have changes nothing of it.
    home = f"group: {kind.fields['summary'].group}"
    line = next(each for each in LABOUR.splitlines() if each.strip().startswith("summary:"))
    assert home in line
    moved = kind_of(tmp_path, LABOUR.replace(line, line.replace(home, f"group: {kind.fields['name'].group}")))
    assert content_digest(b"k" * 32, moved, body) != mac
    more = kind_of(tmp_path, LABOUR.replace(line, f"{line}\n{line.replace('summary:', 'remark:')}"))
    assert "remark" in more.fields and content_digest(b"k" * 32, more, body) == mac


def test_a_field_may_have_any_name_and_a_kind_no_rules(tmp_path: Path) -> None:
    kind = kind_of(tmp_path, RESTAURANT)
    kind.accept({"business": "OL-10234", "date": "2014-07-01", "score": 100, "class": "Fine"})
    kind.accept({"business": "OL-10234", "date": "2014-07-01"})
    for score in (101, -1, True, "100", 99.0):
        with pytest.raises(KindError):
            kind.accept({"business": "OL-10234", "date": "2014-07-01", "score": score})


# ---- what a declaration may not say ----

BASE = """\
kind: thing/1
label: {zh: 物, en: Thing}
groups:
  party: {label: {zh: 人, en: Party}, personal: true}
  shown:
    label: {zh: 脱敏, en: Masked}
    masks: [party]
    person: {type_of: ["1"]}
    minor: {birth: number, on: [made_on]}
    how: {name: name}
codes:
  colour: {"1": {zh: 红, en: Red}, "2": {zh: 蓝, en: Blue}}
fields:
  type_of: {type: code, codes: colour, group: open, label: {zh: 色, en: Colour}}
  made_on: {type: date, group: open, label: {zh: 日, en: Day}}
  sold_at: {type: datetime, group: open, label: {zh: 时, en: Time}}
  name: {type: text, max: 50, group: party, label: {zh: 名, en: Name}}
  number: {type: id_number, group: party, label: {zh: 号, en: Number}}
  parts: {type: list, group: party, of: {part: {type: text, label: {zh: 件, en: P}}}, label: {zh: 件, en: P}}
rules:
  - {require: [made_on], when: {type_of: {in: ["1"]}}}
  - {check: {number: resident_id}}
search:
  number: [number]
  party: [name]
  date: [sold_at, made_on]
"""


def test_what_a_record_is_found_by_is_declared(tmp_path: Path) -> None:
    assert kind_of(tmp_path, BASE).search == {"number": ("number",), "party": ("name",), "date": ("sold_at", "made_on")}
    assert kind_of(tmp_path, BASE.partition("search:")[0]).search == {}


def test_the_base_of_these_tests_is_right(tmp_path: Path) -> None:
    kind_of(tmp_path, BASE)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("thing/1", "Thing", "thing.yaml:1: kind: expected a name and a version"),
        ("kind: thing/1\n", "", "kind: is missing"),
        ("label: {zh: 物, en: Thing}", "label: {zh: 物}", "thing.yaml:2: label.en: is missing"),
        ("codes:\n", "code:\n", "unknown key; did you mean codes?"),
        (
            "type: date, group: open",
            "type: dat, group: open",
            ":15: fields.made_on.type: unknown field type 'dat'; did you mean date?",
        ),
        (
            "type: text, max: 50, group: party",
            "type: text, max: 50, group: open",
            ":17: fields.name.group: a text may hold words about a person: never open",
        ),
        ("number: {type: id_number, group: party", "number: {type: id_number, group: open", "never open"),
        ("max: 50, group: party", "max: 50, group: parti", "unknown group 'parti'; did you mean party?"),
        ("max: 50, group: party", "max: 50, group: shown", "a masked group is computed"),
        ("max: 50, group: party", "max: 50", "thing.yaml:17: fields.name.group: is missing"),
        ("max: 50", "max: 50, length: 3", "is no option of text"),
        ("max: 50", "max: 50, min: 60", "min and max must be 1 to"),
        ("max: 50", "max: 0", "min and max must be 1 to"),
        ("max: 50", "max: fifty", "expected a whole number"),
        ("max: 50", "max: true", "expected a whole number"),
        ("max: 50", "max: 50, volatle: true", "unknown key; did you mean volatile?"),
        ("max: 50", "max: 50, required: 1", "expected true or false"),
        ("codes: colour, group", "codes: color, group", "unknown code table 'color'; did you mean colour?"),
        ("codes: colour, group", "group", "a code needs `codes`"),
        (', "2": {zh: 蓝, en: Blue}', ', "2 ": {zh: 蓝, en: Blue}', "a code is letters, digits"),
        (', "2": {zh: 蓝, en: Blue}', ', "2": {zh: 蓝}', "codes.colour.2.en: is missing"),
        (
            ', "2": {zh: 蓝, en: Blue}',
            "}\n  size: {L: {zh: 大, en: Large}",
            "codes.size: no field uses this table",
        ),
        ("masks: [party]", "masks: [parti]", "unknown group 'parti'; did you mean party?"),
        ("masks: [party]", "masks: [shown]", "unknown group 'shown'"),
        ("    masks: [party]\n", "", "belongs to a masked group"),
        ("    how: {name: name}\n", "", "a masked group needs `how`"),
        ("{name: name}", "{name: nam}", "unknown way of masking 'nam'; did you mean name?"),
        ("{name: name}", "{nme: name}", "unknown field 'nme'; did you mean name?"),
        ("{name: name}", "{made_on: name}", "made_on is of type date; use a field of type text or id_number"),
        ('person: {type_of: ["1"]}', 'person: {type_of: ["3"]}', "unknown code '3'"),
        ('person: {type_of: ["1"]}', "person: {type_of: [1]}", "put it in quotes"),
        ("birth: number", "birth: name", "name is of type text; use a field of type id_number"),
        ("on: [made_on]", "on: [name]", "use a field of type date or datetime"),
        ("of: {part: {type: text, ", "of: {part: {type: texts, ", "a list inside a list"),
        ("of: {part: {type: text, ", "of: {part: {type: text, group: open, ", "of.part.group: unknown key"),
        ("of: {part: {type: text, label: {zh: 件, en: P}}}, ", "", "a list needs `of`"),
        ("  name: {type", "  Name: {type", "a name is small letters, digits and _"),
        ('in: ["1"]', 'in: ["3"]', ":21: rules.0.when.type_of.in.0: unknown code '3'; known here: 1, 2"),
        ('in: ["1"]', "in: [1]", "put it in quotes"),
        ('in: ["1"]', "presen: true", "unknown condition 'presen'; did you mean present?"),
        ("{type_of: {in", "{typeof: {in", "unknown field 'typeof'; did you mean type_of?"),
        ("require: [made_on]", "require: [made_no]", "unknown field 'made_no'; did you mean made_on?"),
        ("require: [made_on]", "requires: [made_on]", "unknown key; did you mean require?"),
        ("require: [made_on]", "order: [made_on, sold_at]", "orders fields of different types"),
        ("require: [made_on]", "order: [made_on, name]", "name is of type text"),
        ("require: [made_on]", "require: [made_on], strict: true", "belongs to an order"),
        ("require: [made_on]", "require: [made_on, made_on]", "names a field twice"),
        ("require: [made_on]", "require: [made_on], order: [made_on, made_on]", "a rule has one form"),
        ("require: [made_on]", 'allow: {type_of: ["4"]}', "unknown code '4'"),
        ("require: [made_on]", 'include: {type_of: "1"}', "use a field of type codes"),
        ("resident_id", "resident", "unknown number 'resident'; did you mean resident_id?"),
        ("  party: {label", "  open: {label", "open is no group"),
        ("rules:", "rules: {}\nrulez:", "unknown key; did you mean rules?"),
        ("party: [name]", "party: [nam]", "thing.yaml:25: search.party.0: unknown field 'nam'; did you mean name?"),
        ("party: [name]", "parti: [name]", "thing.yaml:25: search.parti: unknown key; did you mean party?"),
        ("party: [name]", "party: name", "thing.yaml:25: search.party: "),
        ("party: [name]", "party: []", "thing.yaml:25: search.party: "),
        ("party: [name]", "party: [number]", "number is of type id_number; use a field of type text"),
        ("party: [name]", "party: [name, name]", "thing.yaml:25: search.party.1: names a field twice"),
        ("date: [sold_at, made_on]", "date: [type_of]", "type_of is of type code; use a field of type date or datetime"),
        ("datetime, group: open", "datetime, group: party", "thing.yaml:26: search.date.0: sold_at is sealed"),
        ("search:\n", "search: 7\nsearches:\n", "thing.yaml:23: search: "),
    ],
)
def test_a_wrong_declaration_says_where_and_how_to_mend_it(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert BASE.count(old) >= 1
    with pytest.raises(DeclarationError) as caught:
        kind_of(tmp_path, BASE.replace(old, new, 1), "thing.yaml")
    assert told in str(caught.value)
    assert all(line.startswith("thing.yaml:") for line in caught.value.problems)


RETENTION = """\
retention:
  - {after: 2 years, from: sold_at, groups: [party], law: 某规定, article: 第一条, when: {type_of: {in: ["1"]}}}
  - {after: 10 years, from: last revision, law: 某规定, article: 第二条, reason: court}
"""


def test_retention_is_what_a_kind_says_of_itself_and_nothing_shipped_says_any(tmp_path: Path) -> None:
    first, second = kind_of(tmp_path, BASE + RETENTION).retention
    assert str(first) == "party erased 2 years after sold_at where type_of is 1 (某规定第一条)"
    assert str(second) == "the whole record erased 10 years after last revision (某规定第二条)"
    assert (first.reason, second.reason) == ("retention", "court")
    assert [kind.name for kind in KINDS.values() if kind.retention] == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("2 years", "2 weeks", ':29: retention.0.after: expected a span such as "30 days"'),
        ("after: 2 years, ", "", ":29: retention.0.after: is missing"),
        ("from: sold_at", "from: sold_on", ":29: retention.0.from: unknown field 'sold_on'; did you mean sold_at?"),
        ("from: sold_at", "from: type_of", "type_of is of type code; use a field of type date or datetime"),
        ("groups: [party]", "groups: [parti]", ":29: retention.0.groups.0: unknown group 'parti'; did you mean party?"),
        ("groups: [party]", "groups: []", "retention.0.groups"),
        ("law: 某规定, article: 第二条", "article: 第二条", ":30: retention.1.law: is missing"),
        ('{in: ["1"]}}', '{in: ["7"]}}', "retention.0.when.type_of.in.0: unknown code '7'"),
        ("type_of: {in", "number: {in", "number is of type id_number"),
        ("type_of: {in: [\"1\"]}", "name: {present: true}", "name stands in group party; count by open fields"),
        ("from: sold_at", "from: hidden_on", "hidden_on stands in group party; count by open fields"),
        ("reason: court", "why: court", "retention.1.why: unknown key"),
        (RETENTION, "retention: 5 years\n", ":28: retention: expected a list of rules"),
        (RETENTION, "retention: []\n", ":28: retention: expected a list of rules"),
    ],
)
def test_a_retention_that_makes_no_sense_is_told_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    base = BASE.replace("fields:\n", "fields:\n  hidden_on: {type: date, group: party, label: {zh: 隐, en: H}}\n")
    assert RETENTION.count(old) == 1
    with pytest.raises(DeclarationError) as caught:
        kind_of(tmp_path, base + RETENTION.replace(old, new))
    assert any(told in line for line in caught.value.problems), caught.value.problems


def test_all_problems_of_all_files_come_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    wrong = BASE.replace("type: date,", "type: dat,").replace("thing/1", "thing").replace("resident_id", "resident")
    (tmp_path / "a.yaml").write_text(wrong, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(BASE, encoding="utf-8")
    (tmp_path / "c.yaml").write_text(BASE, encoding="utf-8")
    (tmp_path / "d.yaml").write_text("kind: [", encoding="utf-8")
    with pytest.raises(DeclarationError) as caught:
        load_kinds(tmp_path)
    places = [line.split(": ")[0] for line in caught.value.problems]
    assert places == ["a.yaml:1", "a.yaml:15", "a.yaml:22", "c.yaml:1", "d.yaml:1"]


@pytest.mark.parametrize("text", ["", "[]", "kind: thing/1", "fields: 3", "rules: 7\nfields: {}", "groups: []"])
def test_garbage_is_told_not_crashed_on(tmp_path: Path, text: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        kind_of(tmp_path, text)
    assert caught.value.problems


def test_a_folder_without_kinds_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="no kind is declared here"):
        load_kinds(tmp_path)
