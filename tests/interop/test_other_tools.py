"""The page for court experts, word for word: its Go program and its OpenSSL commands check a bundle and refuse a forged one."""

import json
import os
import re
import shutil
import subprocess

import pytest
from hub_parts import ROOT, bodies, rig
from tsa_parts import serving

from hub import evidence, timestamp, wire

A, B, CUSTODIAL = "330483", "330521", "330503"
PAGE = (ROOT / "docs" / "check-with-other-tools.md").read_text(encoding="utf-8")
NEEDED = ("go", "openssl", "jq", "xxd", "bash")

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in NEEDED), reason=f"needs {', '.join(NEEDED)}"
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder as an expert's: bundles, trust file, and the program built from the page."""
    folder = tmp_path_factory.mktemp("expert")
    (program,) = blocks("go")
    (folder / "check.go").write_text(program)
    with rig(tmp_path_factory.mktemp("rig"), witnesses=(A, B), quorum=2, pullers=()) as made:
        # A second signature, by SM2, that stock clients ignore.
        made.hub.rotate(CUSTODIAL, second=True)
        made.hub.rotate(CUSTODIAL)
        leaves = made.put(A, "case/1", bodies("case/1", A, 7))
        made.nodes[A].push()
        other = made.put(CUSTODIAL, "inspection/1", bodies("inspection/1", CUSTODIAL, 3))
        for code in (A, B):
            made.nodes[code].pull()
        export = made.hub.desk.export
        with serving(tmp_path_factory.mktemp("tsa")) as tsa:
            roots = timestamp.read_roots(tsa.root.read_bytes())
            (folder / "tsa.pem").write_bytes(tsa.root.read_bytes())
            (folder / "other.pem").write_bytes(tsa.other.read_bytes())
            bundle = export("case", A, leaves[4].id, frozenset({"facts", "party"}))
            bundle = evidence.with_timestamp(bundle, lambda asked: wire.ask_timestamp(tsa.url, asked, rooted=True), roots)
        (folder / "self.json").write_text(json.dumps(bundle))
        (folder / "custodial.json").write_text(json.dumps(export("inspection", CUSTODIAL, other[0].id, frozenset())))
        (folder / "trust.json").write_bytes(made.hub.trust_file().dump())
    return folder


def run(folder, script, bundle, expect=0):
    shutil.copy(folder / bundle, folder / "bundle.json")
    env = os.environ | {"GOCACHE": str(folder / ".go"), "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, env=env, check=False
    )
    assert (done.returncode == 0) == (expect == 0), done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("bundle", ["self.json", "custodial.json"])
def test_go_checks_a_bundle_by_its_own_packages(desk, bundle):
    told = run(desk, blocks("sh")[0], bundle)
    assert "ok: the batch is on the ledger" in told and "ok: the record is in the batch" in told
    assert ('"facts",{' in told) == (bundle == "self.json")


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        (r"\"rev\":1", r"\"rev\":2", "the record is in the batch"),
        (r"\ncount 7", r"\ncount 6", "the batch is on the ledger"),
        ('"index": 4', '"index": 3', "the record is in the batch"),
    ],
)
def test_go_refuses_what_was_changed(desk, old, new, step):
    text = (desk / "self.json").read_text()
    assert old in text
    (desk / "forged.json").write_text(text.replace(old, new))
    assert f"FAILED: {step}" in run(desk, blocks("sh")[0], "forged.json", expect=1)


def test_go_believes_no_other_first_key(desk):
    script = blocks("sh")[0].replace("'.pins[$o][0]'", "'.pins.hub[0]'")
    assert "FAILED: key entry 1" in run(desk, script, "self.json", expect=1)


@pytest.mark.parametrize("n", [1, 2])
def test_openssl_checks_one_signature(desk, n):
    assert "Signature Verified Successfully" in run(desk, blocks("sh")[n], "self.json")
    spoiled = blocks("sh")[n].replace("openssl pkeyutl", "printf x >> text\nopenssl pkeyutl")
    run(desk, spoiled, "self.json", expect=1)


def test_openssl_checks_the_timestamp(desk):
    script = blocks("sh")[3]
    told = run(desk, script, "self.json")
    assert "Verification: OK" in told and "Time stamp: " in told
    run(desk, script.replace("openssl ts -verify", "printf x >> checkpoint\nopenssl ts -verify"), "self.json", expect=1)
    run(desk, script.replace("tsa.pem", "other.pem"), "self.json", expect=1)
