"""Evidence on its way out: exported, checked offline by a trust file, printed; and a fork explained."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from hub_parts import KINDS, ROOT, bodies, rig

from hub import evidence
from hub.errors import HubError, KeyRefused, NotFound, RecordError
from hub.witness import Policy

A, B = "330483", "330521"
GROUPS = frozenset({"facts", "party_masked"})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with rig(tmp_path_factory.mktemp("evidence"), witnesses=(A, B), quorum=2, pullers=()) as made:
        made.leaves = made.put(A, "case/1", bodies("case/1", A, 5))
        made.nodes[A].push()
        for code in (A, B):
            made.nodes[code].pull()
        made.trusted = made.hub.trust_file()
        made.bundle = made.hub.desk.export("case", A, made.leaves[2].id, GROUPS)
        yield made


def test_a_bundle_is_checked_by_what_came_another_way(made):
    trust = evidence.read_trust(made.trusted.dump())
    assert trust == made.trusted
    shown, report = evidence.check(made.bundle, trust)
    body = bodies("case/1", A, 5)["3"]
    assert shown["facts"] == body["facts"] and "legal_rep_id" not in shown and "case_code" not in shown
    assert report.proved[1] == f"cosigned by {A}, {B} (2 of 2 asked for)" and len(report.proved) == 6
    assert len(report.unproven) == 3, "signed by the city itself, witnessed"
    own = made.nodes[B].trust_file()
    assert (own.hub, own.log, own.policy) == (trust.hub, trust.log, trust.policy), "a node believes the same"
    assert trust.pins.items() <= own.pins.items()


def test_below_the_quorum_it_is_no_evidence(made):
    other = evidence.TrustFile(made.trusted.hub, made.trusted.log, Policy(made.trusted.policy.witnesses[:1] * 1, 1),
                               made.trusted.pins)  # fmt: skip
    assert evidence.check(made.bundle, other)[1].proved[1] == f"cosigned by {A} (1 of 1 asked for)"
    made.put(A, "case/1", bodies("case/1", A, 1, seed="later"))
    made.nodes[A].push()
    id = next(leaf.id for leaf in made.put(A, "case/1", bodies("case/1", A, 1, seed="last")))
    made.nodes[A].push()
    fresh = made.hub.desk.export("case", A, id, frozenset())
    with pytest.raises(KeyRefused, match="0 of the 2 witnesses"):
        evidence.check(fresh, made.trusted)
    none = evidence.TrustFile(made.trusted.hub, made.trusted.log, Policy((), 0), made.trusted.pins)
    assert any("asks for no witness" in line for line in evidence.check(fresh, none)[1].unproven)


def test_every_byte_of_a_bundle_counts(made):
    """Whatever byte of what is proven is changed, the check refuses; what it then shows would be another's word."""
    raw = json.dumps(made.bundle)
    shown = evidence.check(made.bundle, made.trusted)[0]
    accepted = 0
    for at in range(len(raw)):
        changed = raw[:at] + ("x" if raw[at] != "x" else "y") + raw[at + 1 :]
        try:
            found = json.loads(changed)
            now, _ = evidence.check(found, made.trusted)
        except (ValueError, HubError):
            continue
        # The clauses say why the record was shown and are no part of the proof.
        assert now == shown and {**found, "clauses": 0} == {**made.bundle, "clauses": 0}, changed[max(0, at - 30) : at + 30]
        accepted += 1
    assert accepted <= len(json.dumps(made.bundle["clauses"]))


def test_only_what_stands_and_groups_that_are_there_can_be_exported(made):
    with pytest.raises(NotFound, match="no such record"):
        made.hub.desk.export("case", A, "A" * 22, GROUPS)
    with pytest.raises(RecordError, match="has no group faces"):
        made.hub.desk.export("case", A, made.leaves[0].id, frozenset({"faces"}))


def test_the_certificate_says_what_is_proven_and_what_is_not(made):
    raw = json.dumps(made.bundle).encode()
    page = evidence.certificate(made.bundle, raw, made.trusted, KINDS).decode()
    assert evidence.sha256(raw).hexdigest() in page and "<svg" in page
    for words in ("电子数据证据核验单", "来源机关自签", f"检查点由 {A}、{B} 联署", "记录内容本身的真实性", "行政处罚案件"):
        assert words in page
    assert "<script" not in page and not re.search("https?://(?!www.w3.org)", page)
    hostile = json.loads(raw)
    hostile["clauses"] = ["<script>alert(1)</script>"]
    assert "<script" not in evidence.certificate(hostile, raw, made.trusted, KINDS).decode()
    with pytest.raises(HubError):
        changed = {**made.bundle, "note": made.bundle["note"].replace("count 5", "count 6")}
        evidence.certificate(changed, raw, made.trusted, KINDS)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"hub": "h", "policy": "log x", "pins": {}}', b"\xff"])
def test_junk_is_no_trust_file(raw):
    with pytest.raises(RecordError):
        evidence.read_trust(raw)


def run(*arguments):
    command = [sys.executable, "-c", "from hub.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_by_command(made, tmp_path):
    trust, bundle = tmp_path / "trust.json", tmp_path / "bundle.json"
    trust.write_bytes(made.trusted.dump())
    bundle.write_text(json.dumps(made.bundle))
    good = run("verify", bundle, "--trust", trust)
    assert good.returncode == 0 and "cosigned by" in good.stdout and "not proven" in good.stdout
    bundle.write_text(json.dumps(made.bundle | {"record": made.bundle["record"].replace('"rev":1', '"rev":2')}))
    bad = run("verify", bundle, "--trust", trust)
    assert bad.returncode == 5 and "does not hash to the batch" in bad.stderr
    assert run("verify", bundle).returncode == 2


def test_a_fork_is_explained_and_exits_with_5(tmp_path):
    with rig(tmp_path / "rig", witnesses=(B,), quorum=1, pullers=("330503",)) as forked:
        forked.put(A, "case/1", bodies("case/1", A, 1))
        forked.nodes[A].push()
        forked.stop()
        shutil.copytree(tmp_path / "rig" / "hub", tmp_path / "older")
        forked.open()
        forked.put("330503", "case/1", bodies("case/1", "330503", 1))
        forked.nodes[B].pull()
        (tmp_path / "trust.json").write_bytes(forked.hub.trust_file().dump())
        forked.stop()
        shutil.rmtree(tmp_path / "rig" / "hub")
        (tmp_path / "older").rename(tmp_path / "rig" / "hub")
        forked.open()
        forked.put("330503", "case/1", bodies("case/1", "330503", 2, seed="other"))
        with pytest.raises(HubError):
            forked.nodes[B].pull()
    told = run("verify", tmp_path / "rig" / B / "fork.json", "--trust", tmp_path / "trust.json")
    assert told.returncode == 5 and "contradict each other" in told.stderr
