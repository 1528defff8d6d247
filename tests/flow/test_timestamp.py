"""RFC 3161 timestamps on evidence: asked of a real authority (OpenSSL's), checked by pinned roots, refused where they err."""

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hub_parts import KINDS, PHRASE, ROOT, bodies, rig
from rfc3161_client import decode_timestamp_response
from tsa_parts import QUERY, SIGNER, serving

from hub import evidence, timestamp, wire
from hub.errors import ConfigError, HubError, RecordError, Unreachable

A, B = "330483", "330521"


@pytest.fixture(scope="module")
def tsa(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("tsa")) as made:
        made.roots = timestamp.read_roots(made.root.read_bytes())
        made.others = timestamp.read_roots(made.other.read_bytes())
        yield made


@pytest.fixture(scope="module")
def made(tmp_path_factory, tsa):
    with rig(tmp_path_factory.mktemp("stamped"), witnesses=(A, B), quorum=2, pullers=()) as made:
        made.stop()
        made.clock.live = True
        made.open()
        leaves = made.put(A, "case/1", bodies("case/1", A, 3))
        made.nodes[A].push()
        for code in (A, B):
            made.nodes[code].pull()
        made.leaf = leaves[1]
        made.trust = made.hub.trust_file()
        made.bundle = made.hub.desk.export("case", A, made.leaf.id, frozenset({"facts"}))
        made.stamped = evidence.with_timestamp(made.bundle, asking(tsa), tsa.roots)
        yield made


def asking(tsa, *, rooted=False):
    return lambda request: wire.ask_timestamp(tsa.url, request, rooted=rooted, timeout=10)


def test_the_authority_stamps_the_checkpoint_and_learns_nothing_else(made, tsa):
    checkpoint = made.bundle["proof"].split("\n\n", 1)[1].encode()
    path, kind, request = tsa.asked[0]
    assert (path, kind) == ("/stamp?policy=1", QUERY)
    assert sha256(checkpoint).digest() in request and len(request) < 100
    assert {**made.stamped, "timestamp": 0} == {**made.bundle, "timestamp": 0} and "timestamp" not in made.bundle


def test_a_stamped_bundle_says_by_whom_and_when_at_the_latest(made, tsa):
    shown, report = evidence.check(made.stamped, made.trust, tsa.roots)
    assert shown == evidence.check(made.bundle, made.trust)[0]
    at = evidence.stamped(made.stamped, tsa.roots).at
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(at) < timedelta(minutes=5) and at.endswith("Z")
    assert report.proved[-1] == f"timestamped by {SIGNER}: the checkpoint and all it holds existed at the latest at {at}"
    assert any("not revoked" in line for line in report.unproven)


def test_without_a_pinned_authority_it_is_told_of_and_left_open(made):
    _, report = evidence.check(made.stamped, made.trust)
    assert not any("timestamp" in line for line in report.proved)
    assert any("was not checked" in line for line in report.unproven)
    assert not any("timestamp" in line for line in evidence.check(made.bundle, made.trust)[1].unproven)


def test_another_root_or_another_checkpoint_is_refused(made, tsa):
    with pytest.raises(RecordError, match="the signature does not hold"):
        evidence.check(made.stamped, made.trust, tsa.others)
    later = {**made.bundle, "timestamp": b64encode(tsa.stamp(timestamp.ask(b"another").as_bytes())).decode()}
    for roots in (None, tsa.roots):
        with pytest.raises(RecordError, match="stamps other bytes"):
            evidence.check(later, made.trust, roots)


@pytest.mark.parametrize("value", [None, 7, "", "!", "AAAA", b64encode(bytes(99)).decode()])
def test_junk_in_the_place_of_a_timestamp_is_refused_by_every_verifier(made, tsa, value):
    for roots in (None, tsa.roots):
        with pytest.raises(RecordError):
            evidence.check(made.bundle | {"timestamp": value}, made.trust, roots)


def test_every_byte_of_a_token_counts(made, tsa):
    """A changed byte is refused, or is one that no signature covers; then it says the same as before."""
    raw, said = b64decode(made.stamped["timestamp"]), evidence.stamped(made.stamped, tsa.roots)
    same = 0
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        bundle = made.bundle | {"timestamp": b64encode(changed).decode()}
        try:
            assert evidence.stamped(bundle, tsa.roots) == said
        except RecordError:
            continue
        same += 1
    assert same < 32, "the algorithm's parameters alone are unsigned"


def test_a_signer_that_is_not_critically_for_time_stamping_is_refused(made, tsa):
    """The same token signed anew under the same root: by its rightful key it holds, by the other it does not."""
    info = tsa.info(b64decode(made.stamped["timestamp"]))
    again = b64encode(tsa.signed_by("signer", info)).decode()
    assert evidence.stamped(made.bundle | {"timestamp": again}, tsa.roots) == evidence.stamped(made.stamped, tsa.roots)
    careless = b64encode(tsa.signed_by("careless", info)).decode()
    with pytest.raises(RecordError, match="the signature does not hold"):
        evidence.stamped(made.bundle | {"timestamp": careless}, tsa.roots)


def test_certificates_in_another_order_than_ders_are_put_into_it(made, tsa):
    """OpenSSL's authority writes the signer's certificate first, whatever DER says; the strict library refuses that."""
    tsa.chained = True
    try:
        given = []
        with pytest.raises(ValueError, match="InvalidSetOrdering"):
            decode_timestamp_response(tsa.stamp(timestamp.ask(b"x").as_bytes()))
        found = evidence.with_timestamp(made.bundle, lambda asked: given.append(asking(tsa)(asked)) or given[0], tsa.roots)
    finally:
        tsa.chained = False
    taken = b64decode(found["timestamp"])
    assert taken != given[0] and sorted(taken) == sorted(given[0])
    assert evidence.stamped(found, tsa.roots).by == SIGNER


def big(request):
    return 200, bytes(wire.MAX_PLAIN + 1)


def stale(tsa, data):
    """The right bytes stamped, for another request: another nonce."""
    return lambda request: (200, tsa.stamp(timestamp.ask(data).as_bytes()))


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda request: (200, b"<html>"), "not a timestamp response"),
        (lambda request: (200, b""), "not a timestamp response"),
        (lambda request: (200, bytes.fromhex("30053003020102")), "refused with status 2"),
        (lambda request: (503, b"later"), "HTTP 503"),
        (lambda request: (302, b""), "HTTP 302"),
        (big, "an answer longer than 65536 bytes"),
        ("stale", "answers another request"),
        ("other", "stamps other bytes"),
    ],
)
def test_an_authority_that_errs_is_not_believed(made, tsa, answer, what):
    data = made.bundle["proof"].split("\n\n", 1)[1].encode()
    usual, known = tsa.answer, {"stale": stale(tsa, data), "other": stale(tsa, b"another")}
    tsa.answer = known.get(answer, answer)
    try:
        with pytest.raises(Unreachable, match=what):
            evidence.with_timestamp(made.bundle, asking(tsa), None)
    finally:
        tsa.answer = usual


def test_nobody_there(made):
    with pytest.raises(Unreachable, match="no answer"):
        evidence.with_timestamp(made.bundle, lambda asked: wire.ask_timestamp("http://127.0.0.1:9/", asked, rooted=False), None)


@pytest.mark.parametrize(
    "url",
    ["http://tsa.example.cn/", "ftp://127.0.0.1/", "tsa", "https://a b/", "http://[::1/", "https://u:p@a.cn/", "https://a.cn/é"],
)
def test_urls_that_cannot_be_asked(url):
    with pytest.raises(ConfigError, match="not a URL that a timestamp can be asked of"):
        wire.ask_timestamp(url, b"", rooted=False)


def test_http_leaves_this_machine_only_where_the_signature_is_checked_at_once(tsa):
    """A name that never resolves: asked for, and not refused for its scheme."""
    with pytest.raises(Unreachable, match="no answer"):
        wire.ask_timestamp("http://tsa.invalid/", b"", rooted=True, timeout=5)


def test_the_certificate_prints_the_timestamp_or_that_it_is_unchecked(made, tsa):
    raw = json.dumps(made.stamped).encode()
    at = evidence.stamped(made.stamped, tsa.roots).at
    page = evidence.certificate(made.stamped, raw, made.trust, KINDS, tsa.roots).decode()
    assert f"最迟于 {at} 已存在" in page and "测试授时中心" in page and "未被吊销" in page
    open_ = evidence.certificate(made.stamped, raw, made.trust, KINDS).decode()
    assert at not in open_ and "所附时间戳" in open_
    assert "时间戳" not in evidence.certificate(made.bundle, raw, made.trust, KINDS).decode()
    with pytest.raises(HubError):
        evidence.certificate(made.stamped, raw, made.trust, KINDS, tsa.others)


def run(*arguments):
    command = [sys.executable, "-c", "from hub.cli import main; main()", *map(str, arguments)]
    env = os.environ | {"CROSSREGION_PASSPHRASE": PHRASE}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=env)


def node(made, *arguments):
    """A command of the city's own node, while nothing else has its folder open."""
    made.nodes.pop(A).close() if A in made.nodes else None
    return run("partner", *arguments, "--data", made.folder / A)


def test_by_command(made, tsa, tmp_path):
    trust, bundle = tmp_path / "trust.json", tmp_path / "bundle.json"
    trust.write_bytes(made.trust.dump())
    told = node(made, "evidence", "case", A, made.leaf.id, "--timestamp", tsa.url, "--tsa", tsa.root, "--out", bundle)
    assert told.returncode == 0, told.stderr
    good = run("verify", bundle, "--trust", trust, "--tsa", tsa.root)
    assert good.returncode == 0 and f"timestamped by {SIGNER}" in good.stdout
    unchecked = run("verify", bundle, "--trust", trust)
    assert unchecked.returncode == 0 and "was not checked" in unchecked.stdout and SIGNER not in unchecked.stdout
    bad = run("verify", bundle, "--trust", trust, "--tsa", tsa.other)
    assert bad.returncode == 5 and "the signature does not hold" in bad.stderr
    assert run("verify", bundle, "--trust", trust, "--tsa", trust).returncode == 2
    other = tmp_path / "other.json"
    told = node(made, "evidence", "case", A, made.leaf.id, "--timestamp", tsa.url, "--tsa", tsa.other, "--out", other)
    assert told.returncode == 6 and "no timestamp that can be believed" in told.stderr and not other.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.json", "trust.json"]
