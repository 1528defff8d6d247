"""Evidence on its way out: exported, checked offline by a trust file, printed; and a fork explained."""

import html
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
PHOTO, DEED, OTHER = b"a photograph\n" * 900, b"a notarial deed", b"a photograph\n" * 899
NUMBER = "（2026）浙嘉证内字第000123号"


def attachments():
    """Two files that a case names: one with all that may be told of a file, one with the least, its digest in capitals."""
    photo = {
        "type": "01", "name": "现场照片<1>", "sha256": evidence.sha256(PHOTO).hexdigest(), "size": len(PHOTO),
        "media_type": "image/jpeg", "notarized_no": NUMBER,
    }  # fmt: skip
    return [photo, {"type": "05", "sha256": evidence.sha256(DEED).hexdigest().upper()}]


def given(folder, **files):
    """Files of a folder, measured."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [evidence.measure(folder / name) for name in files]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with rig(tmp_path_factory.mktemp("evidence"), witnesses=(A, B), quorum=2, pullers=()) as made:
        made.leaves = made.put(A, "case/1", bodies("case/1", A, 5))
        (case,) = bodies("case/1", A, 1, seed="files").values()
        made.filed = made.put(A, "case/1", {"files": case | {"attachments": attachments()}})[0]
        made.letter = made.put(A, "transfer/1", bodies("transfer/1", A, 1, to=B))[0]
        made.nodes[A].push()
        for code in (A, B):
            made.nodes[code].pull()
        made.trusted = made.hub.trust_file()
        made.bundle = made.hub.desk.export("case", A, made.leaves[2].id, GROUPS)
        made.files = made.hub.desk.export("case", A, made.filed.id, GROUPS)
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


def test_each_file_is_told_to_be_the_attachment_that_it_is(made, tmp_path):
    deed, photo = given(tmp_path, deed=DEED, photo=PHOTO)
    _, report = evidence.check(made.files, made.trusted, files=[deed, photo])
    assert report.proved[-2] == "deed is item 2 of attachments: by its SHA-256, as the record says"
    size = f"size ({len(PHOTO)} bytes)"
    assert report.proved[-1] == f"photo is item 1 of attachments: by its SHA-256 and {size}, as the record says"
    assert not any("file was not given" in line for line in report.unproven)
    _, report = evidence.check(made.files, made.trusted, files=[deed])
    assert [line for line in report.unproven if "file was not given" in line] == [
        "what item 1 of attachments holds: its file was not given"
    ]
    assert not any("attachments" in line for line in evidence.check(made.bundle, made.trusted)[1].unproven)


def test_a_file_that_the_record_does_not_name_is_refused(made, tmp_path):
    other, photo = given(tmp_path, other=OTHER, photo=PHOTO)
    for bundle, files in ((made.files, [photo, other]), (made.bundle, [photo])):
        with pytest.raises(RecordError, match="no attachment that this record shows"):
            evidence.check(bundle, made.trusted, files=files)
    sealed = made.hub.desk.export("case", A, made.filed.id, frozenset())
    with pytest.raises(RecordError, match="a group that is not disclosed may name it"):
        evidence.check(sealed, made.trusted, files=[photo])
    with pytest.raises(RecordError, match="of another size than item 1 of attachments says"):
        evidence.check(made.files, made.trusted, files=[photo._replace(size=7)])


def test_materials_of_a_letter_are_attachments_too(made):
    bundle = made.hub.desk.export("transfer", A, made.letter.id, frozenset({"materials"}))
    shown, report = evidence.check(bundle, made.trusted)
    assert sum("of materials holds: its file was not given" in line for line in report.unproven) == len(shown["materials"]) > 0


def test_the_certificate_lists_attachments_and_which_files_were_compared(made, tmp_path):
    (photo,) = given(tmp_path, photo=PHOTO)
    raw = json.dumps(made.files).encode()
    page = evidence.certificate(made.files, raw, made.trusted, KINDS, files=[photo]).decode()
    rows = re.findall(r"<tr><td>.*?</tr>", page)
    assert len(rows) == 2 and "现场照片&lt;1&gt;" in rows[0] and "照片</td>" in rows[0] and NUMBER in rows[0]
    assert photo.sha256 in rows[0] and "一致" in rows[0] and "公证书" in rows[1] and "未附" in rows[1]
    assert "其内容与所载摘要是否一致" in page and html.escape('"sha256"') not in page
    deed = given(tmp_path, deed=DEED)
    assert "其内容与" not in evidence.certificate(made.files, raw, made.trusted, KINDS, files=[photo, *deed]).decode()
    assert "附件" not in evidence.certificate(made.bundle, raw, made.trusted, KINDS).decode()


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


def test_files_by_command(made, tmp_path):
    trust, bundle, page = tmp_path / "trust.json", tmp_path / "bundle.json", tmp_path / "page.html"
    trust.write_bytes(made.trusted.dump())
    bundle.write_text(json.dumps(made.files))
    given(tmp_path, photo=PHOTO, other=OTHER)
    good = run("verify", bundle, tmp_path / "photo", "--trust", trust)
    assert good.returncode == 0 and "photo is item 1 of attachments" in good.stdout and "item 2 of attachments" in good.stdout
    bad = run("verify", bundle, tmp_path / "photo", tmp_path / "other", "--trust", trust)
    assert bad.returncode == 5 and "other: no attachment that this record shows" in bad.stderr
    done = run("evidence", "certificate", bundle, tmp_path / "photo", "--trust", trust, "--out", page)
    assert done.returncode == 0 and "一致" in page.read_text()


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
