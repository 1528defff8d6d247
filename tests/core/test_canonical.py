"""Canonical bytes, held to the independent `rfc8785` package."""

import base64
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from hub import canonical
from hub.errors import RecordError

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
key = st.text("abcxyz019_", min_size=1, max_size=6)
leaf = st.none() | st.booleans() | st.integers(-canonical.LARGEST, canonical.LARGEST) | text
value = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(key, inner, max_size=4), max_leaves=12
)


@given(value)
def test_the_bytes_are_those_of_rfc_8785(each):
    assert canonical.encode(each) == rfc8785.dumps(each)
    assert canonical.decode(canonical.encode(each)) == each


@given(value, st.integers(0, 400), st.sampled_from([b" ", b"\n", b"0", b"\\u0061", b","]))
def test_only_the_one_byte_form_is_accepted(each, at, extra):
    raw = canonical.encode(each)
    other = raw[: at % (len(raw) + 1)] + extra + raw[at % (len(raw) + 1) :]
    try:
        found = canonical.decode(other)
    except RecordError:
        return
    assert rfc8785.dumps(found) == other


@pytest.mark.parametrize(
    "raw",
    [
        b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a":1e3}', b"NaN", b'{"A":1}', b"9007199254740992",
        b'"\\ud800"', b"[" * 100_000, b"", b'{"a": 1}', b'"\\u00e9"', b"18446744073709551616", b"-0", b"\xff",
    ],
)  # fmt: skip
def test_what_another_reader_could_read_otherwise_is_refused(raw):
    with pytest.raises(RecordError):
        canonical.decode(raw)


def test_an_error_names_the_place_and_never_the_value():
    with pytest.raises(RecordError) as caught:
        canonical.require({"name": ["secret", 1.5]})
    assert "value.name.1" in str(caught.value) and "secret" not in str(caught.value) and "1.5" not in str(caught.value)


@given(st.binary(max_size=40))
def test_base64_has_one_spelling(raw):
    assert canonical.unb64(canonical.b64(raw)) == raw
    assert canonical.unb64url(canonical.b64url(raw)) == raw


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ==\n", "Q Q=", "QQ=", "４２==", "-_-_"])
def test_a_second_spelling_of_base64_is_refused(text):
    with pytest.raises(RecordError):
        canonical.unb64(text)


@given(st.binary(max_size=24))
def test_base64url_is_read_as_a_strict_reader_does(text):
    """base64.urlsafe_b64decode of the padded text, held to its own encoding, is the independent reader."""
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        wanted = raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == text else None
    except ValueError:
        wanted = None
    try:
        found = canonical.unb64url(text)
    except RecordError:
        found = None
    assert found == wanted


@given(st.text('AQgwEIMUYckosw048-_+/=x"\\ \n\x00é', max_size=9))
def test_no_near_miss_of_base64url_is_read(text):
    raw = text.encode()
    try:
        found = canonical.unb64url(raw)
    except RecordError:
        return
    assert base64.urlsafe_b64encode(found).rstrip(b"=") == raw


@pytest.mark.parametrize(
    "text", [b"QR", b"QQ==", b"Q", b"+/+/", b"QQ\n", b"QQ\\u", b'QQ"Q', b"Q Q", b"QQ=Q", b"QQ\x00"]
)
def test_a_second_spelling_of_base64url_is_refused(text):
    with pytest.raises(RecordError):
        canonical.unb64url(text)


def test_json_that_python_writes_is_not_always_canonical():
    with pytest.raises(RecordError):
        canonical.decode(json.dumps({"a": 1, "b": "é"}).encode())
