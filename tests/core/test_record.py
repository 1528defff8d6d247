"""Records: what is sealed is what is received, and nothing else is."""

import base64
import hashlib
import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sample import generator
from hub import record
from hub.errors import HubError, KindError, RecordError
from hub.kinds import load_kinds

CONFIG = Path(__file__).parents[2] / "config"
KINDS = load_kinds(CONFIG / "kinds")
KIND = KINDS["framework/1"]
CASE = KINDS["case/1"]
KEY = bytes(range(32))
AT = "2026-11-22T17:03:11+08:00"
BODY = {"agreement": "jiahu", "version": 3, "in_force_on": "2022-05-01", "digest": "0" * 64, "text": "正文 personal"}


def salts():
    count = iter(range(10**6))
    return lambda: base64.urlsafe_b64encode(next(count).to_bytes(16, "big"))[:22].decode()


def sealed(body=BODY, kind=KIND, rev=1):
    id = record.record_id(KEY, kind.name, "key")
    return record.seal(kind, record.plain(KEY, kind, body), origin="hub", id=id, rev=rev, at=AT, salt=salts())


def of_a_person():
    random, where = generator.seeded("masks"), generator.place("330483")
    person = next(p for p in generator.parties(random, where, 200) if p["party_type"] == generator.PERSON)
    return generator.case(random, where, person, 1, date(2026, 11, 1), True)


def receive(leaf, kind=KIND, complete=True, **changed):
    leaf = leaf._replace(raw=changed.pop("raw", leaf.raw))
    line = record.line_of(changed.pop("disclosures", leaf.disclosures).values())
    assert not changed
    return record.receive({kind.name: kind}, leaf.raw, line, complete=complete, digest_key=KEY)


def test_what_is_sealed_is_received():
    assert receive(sealed()) == sealed()


def test_a_disclosure_is_that_of_rfc_9901():
    leaf = sealed()
    (text,) = leaf.disclosures.values()
    salt, group, fields = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert (group, fields) == ("terms", {"text": BODY["text"]}) and len(salt) == 22
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    assert json.loads(leaf.raw)["sealed"] == {"terms": digest}


def test_the_record_itself_shows_only_open_fields():
    leaf = sealed()
    assert "正文".encode() not in leaf.raw and b"personal" not in leaf.raw
    assert json.loads(leaf.raw)["open"] == {
        name: BODY[name] for name in ("agreement", "version", "in_force_on", "digest")
    }


def test_an_id_is_the_documented_hmac():
    import hmac

    mac = hmac.new(KEY, b'case/1\x00["A1"]', "sha256").digest()[:16]
    assert record.record_id(KEY, "case/1", '["A1"]') == base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def test_two_revisions_of_the_same_content_share_no_digest_but_the_keyed_one():
    draw = salts()
    make = lambda rev: record.seal(  # noqa: E731
        KIND,
        record.plain(KEY, KIND, BODY),
        origin="hub",
        id=record.record_id(KEY, KIND.name, "k"),
        rev=rev,
        at=AT,
        salt=draw,
    )
    one, two = json.loads(make(1).raw), json.loads(make(2).raw)
    assert one["sealed"] != two["sealed"] and one["salt"] != two["salt"]
    assert record.content_digest(KEY, KIND, BODY) == record.content_digest(KEY, KIND, dict(reversed(BODY.items())))
    assert record.content_digest(KEY, KIND, BODY) != record.content_digest(KEY, KIND, BODY | {"version": 4})
    assert record.content_digest(KEY, KIND, BODY) != record.content_digest(bytes(32), KIND, BODY)


@given(st.integers(0, 5000), st.integers(0, 255))
@settings(max_examples=500, deadline=None)
def test_no_changed_byte_of_a_record_or_disclosure_is_taken_for_the_same(at, byte):
    leaf = sealed()
    raw, (text,) = bytearray(leaf.raw), leaf.disclosures.values()
    place = at % (len(raw) + len(text))
    target = raw if place < len(raw) else bytearray(text.encode())
    place -= 0 if place < len(raw) else len(raw)
    if target[place] == byte:
        return
    target[place] = byte
    if target is raw:
        try:
            found = receive(leaf, raw=bytes(raw))
        except HubError:
            return
        assert found.raw != leaf.raw
    else:
        with pytest.raises(HubError):
            record.receive(KINDS, leaf.raw, b'["%b"]' % bytes(target), complete=True)


def test_every_group_is_owed_by_a_pusher_and_not_by_a_hub():
    leaf = sealed()
    with pytest.raises(RecordError, match="not disclosed"):
        receive(leaf, disclosures={})
    seen = receive(leaf, disclosures={}, complete=False)
    assert seen.digest is None and seen.raw == leaf.raw


def test_a_disclosure_belongs_to_its_record_once():
    leaf, other = sealed(), sealed(BODY | {"text": "other"})
    (text,) = leaf.disclosures.values()
    for texts in ([text, text], [*other.disclosures.values()], [text + "="], [text[:-1]], ["é"]):
        with pytest.raises(RecordError):
            record.receive(KINDS, leaf.raw, record.line_of(texts), complete=True)


def test_a_list_of_disclosures_spelt_otherwise_is_kept_in_its_one_spelling():
    leaf = sealed(of_a_person(), CASE)
    texts = list(leaf.disclosures.values())
    assert len(texts) > 1 and json.loads(leaf.line) == texts
    escaped = leaf.line.replace(leaf.line[5:6], b"\\u%04x" % leaf.line[5], 1)
    for line in (json.dumps(texts).encode(), json.dumps(texts, indent=1).replace("\n", "").encode(), escaped):
        assert line != leaf.line and json.loads(line) == texts
        found = record.receive({CASE.name: CASE}, leaf.raw, line, complete=True)
        assert found == leaf._replace(digest=None) and found.disclosures == leaf.disclosures


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: b"", lambda line: b"[", lambda line: b'["]', lambda line: b"{}", lambda line: b"[1]",
        lambda line: b"[null]", lambda line: b"[" * 100_000, lambda line: line[1:], lambda line: line[:-1],
        lambda line: b"{" + line[1:], lambda line: line[:-1] + b"}", lambda line: b"[[" + line[2:],
        lambda line: line[:-2] + b"]]", lambda line: line + b"]", lambda line: line + b",",
        lambda line: line[:-1] + b',""]', lambda line: line[:-1] + b',"\xe9"]', lambda line: line[:-1] + b",1]",
        lambda line: line.replace(b'["', b'["\\u0041', 1), lambda line: line.replace(b'"', b"'"),
        lambda line: line.replace(b'["', b'["\\"', 1), lambda line: b'["' + line + b'"]', lambda line: line + line,
    ],
)  # fmt: skip
def test_what_is_no_list_of_its_disclosures_is_refused(spoil):
    leaf = sealed()
    for complete in (True, False):
        with pytest.raises(RecordError) as caught:
            record.receive(KINDS, leaf.raw, spoil(leaf.line), complete=complete)
        assert caught.value.where


def spellings(raw):
    """Other bytes of the same JSON."""
    value = json.loads(raw)
    yield from (raw + b"\n", b"\n" + raw, raw + b" ", raw[:1] + b"\n" + raw[1:], raw + b"\t")
    yield json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
    yield json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).replace("a", "\\u0061", 1).encode()


def test_a_record_and_a_disclosure_have_one_spelling():
    leaf = sealed()
    (text,) = leaf.disclosures.values()
    for raw in spellings(leaf.raw):
        assert raw != leaf.raw and json.loads(raw) == json.loads(leaf.raw)
        with pytest.raises(RecordError):
            receive(leaf, raw=raw)
    for raw in spellings(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))):
        other = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(other.encode()).digest()).rstrip(b"=").decode()
        with pytest.raises(RecordError):
            receive(leaf, raw=change(leaf, sealed={"terms": digest}), disclosures={"terms": other})


def change(leaf, **changed):
    value = json.loads(leaf.raw) | changed
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "changed",
    [
        {"rev": 0}, {"rev": 1.0}, {"op": "delete"}, {"id": "short"}, {"origin": "A B"}, {"kind": "case"}, {"at": "2026-11-22"},
        {"at": "2026-13-22T17:03:11+08:00"}, {"at": "2026-02-30T17:03:11+08:00"},
        {"salt": ""}, {"sealed": {}}, {"sealed": {"terms": "x"}}, {"sealed": {"terms": None, "more": None}}, {"extra": 1},
        {"open": {}}, {"reason": "vanished"}, {"open": {"agreement": "x", "text": "in the open"}},
    ],
)  # fmt: skip
def test_a_malformed_record_is_refused(changed):
    leaf = sealed()
    with pytest.raises((RecordError, KindError)):
        receive(leaf, raw=change(leaf, **changed))


def test_a_retraction_shows_nothing_but_its_reason():
    leaf = record.retract(
        KIND, origin="hub", id=record.record_id(KEY, KIND.name, "k"), rev=2, at=AT, reason="vanished", salt=salts()
    )
    value = json.loads(leaf.raw)
    assert value["open"] == {} and value["sealed"] == {"terms": None} and value["reason"] == "vanished"
    assert receive(leaf) == leaf
    for changed in ({"reason": "because"}, {"open": {"agreement": "x"}}, {"op": "put"}):
        with pytest.raises((RecordError, KindError)):
            receive(leaf, raw=change(leaf, **changed))


def test_a_mask_that_is_not_its_fields_is_refused():
    leaf = sealed(of_a_person(), CASE)
    assert receive(leaf, CASE) == leaf
    parsed = record.parse(leaf.raw)
    fields = record.reveal(parsed, leaf.disclosures.values())
    assert fields["party"]["party_name"] != fields["party_masked"]["party_name"]
    lying = record.b64url(record.encode(("A" * 22, "party_masked", fields["party"]))).decode()
    digests = parsed.sealed | {"party_masked": record.b64url(hashlib.sha256(lying.encode()).digest()).decode()}
    raw = change(leaf, sealed=digests)
    with pytest.raises(RecordError, match="mask"):
        receive(leaf, CASE, raw=raw, disclosures=leaf.disclosures | {"party_masked": lying})


def test_a_field_in_another_group_than_declared_is_refused():
    leaf = sealed()
    moved = record.b64url(record.encode(("A" * 22, "terms", {"text": "x", "version": 3}))).decode()
    value = json.loads(leaf.raw)
    del value["open"]["version"]
    value["sealed"] = {"terms": record.b64url(hashlib.sha256(moved.encode()).digest()).decode()}
    raw = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(RecordError, match="another group"):
        receive(leaf, raw=raw, disclosures={"terms": moved})


def test_what_the_kind_refuses_is_told_field_by_field_without_the_value():
    body = BODY | {"version": "CANARY", "in_force_on": "2026-02-30"}
    leaf = sealed(BODY)
    open_ = {name: value for name, value in body.items() if name != "text"}
    with pytest.raises(KindError) as caught:
        receive(leaf, raw=change(leaf, open=open_))
    assert {problem.where for problem in caught.value.problems} == {"version", "in_force_on"}
    assert "CANARY" not in str(caught.value) and "02-30" not in str(caught.value)
