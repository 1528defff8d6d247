"""Files that records name by digest travel from their city over the hub to who may see them, are checked, and are erased."""

import os
import subprocess
import sys
from hashlib import sha256

import pytest
from hub_parts import PHRASE, ROOT, bodies, rig

from hub import audit, evidence
from hub.errors import HubError, KeyRefused, NotFound, RecordError, Unreachable
from hub.intake import Reference

A, B, PEER, ELSEWHERE, ABOVE = "330483", "330521", "330503", "330522", "330400"
PHOTO, VIDEO, OTHER = b"CANARY-PHOTO" * 99, b"CANARY-VIDEO" * 9999, b"CANARY-OTHER"


def digest(content):
    return sha256(content).hexdigest()


def named(*contents):
    return [{"type": "01", "sha256": digest(each), "size": len(each)} for each in contents]


@pytest.fixture
def made(tmp_path):
    """A case that names two files and a case that names none, pushed by their city and pulled by a peer."""
    with rig(tmp_path / "rig") as made:
        made.stop()
        made.clock.live = True
        made.open()
        first, second = bodies("case/1", A, 2).values()
        made.cases = made.put(A, "case/1", {"1": first | {"attachments": named(PHOTO, VIDEO)}, "2": second})
        made.nodes[A].push()
        made.nodes[PEER].pull()
        made.at = ("case", A, made.cases[0].id)
        yield made


def whole(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_file_travels_from_its_city_to_who_may_see_what_names_it(made):
    node, (kind, _, id) = made.nodes[A], made.at
    assert node.attachment(*made.at, digest(PHOTO)) is None, "nobody brought it yet"
    for content in (PHOTO, VIDEO, PHOTO):
        assert node.attach(kind, id, content) == {"sha256": digest(content), "size": len(content)}
    for code in (A, B, PEER):
        assert made.nodes[code].attachment(*made.at, digest(PHOTO)) == PHOTO
        assert made.nodes[code].attachment(*made.at, digest(VIDEO)) == VIDEO
    assert b"CANARY" not in whole(made.folder / "hub"), "at rest it is encrypted"


def test_withheld_unknown_and_unbrought_are_one_answer(made):
    """Its superior sees the case without the group that names the file; another cooperation sees nothing of it."""
    made.nodes[A].attach("case", made.at[2], PHOTO)
    mine, photo = made.at[2], digest(PHOTO)
    asked = [
        made.nodes[code]._client.get(f"/v1/records/case/{origin}/{id}/attachments/{name}")
        for code, origin, id, name in (
            (ABOVE, A, mine, photo), (ELSEWHERE, A, mine, photo), (PEER, A, mine, digest(VIDEO)),
            (PEER, A, mine, digest(OTHER)), (PEER, A, made.cases[1].id, photo), (PEER, A, "A" * 22, photo),
            (PEER, "999999", mine, photo),
            (PEER, A, mine, photo.upper()), (PEER, A, mine, "x"),
        )
    ]  # fmt: skip
    assert {reply.status for reply in asked} == {404} and len({reply.body for reply in asked}) == 1


def test_only_what_the_citys_own_current_record_names_is_taken(made):
    node = made.nodes[A]
    for case, content in ((made.cases[0], OTHER), (made.cases[1], PHOTO)):
        with pytest.raises(RecordError, match="no attachment that this record shows"):
            node.attach("case", case.id, content)
    with pytest.raises(RecordError, match="no such record"):
        node.attach("case", "A" * 22, PHOTO)
    with pytest.raises(KeyRefused, match="cannot bring files of"):
        made.hub.desk.attach(B, *made.at, PHOTO)
    with pytest.raises(RecordError, match="larger than 8 MiB"):
        node.attach("case", made.at[2], bytes(evidence.MOST_FILE + 1))
    body = bodies("case/1", A, 1)["1"] | {"attachments": [named(OTHER)[0] | {"size": 7}]}
    made.put(A, "case/1", {"1": body})
    node.push()
    with pytest.raises(RecordError, match="of another size"):
        node.attach("case", made.at[2], OTHER)


def test_a_revision_that_no_longer_names_a_file_no_longer_shows_it(made):
    made.nodes[A].attach("case", made.at[2], PHOTO)
    made.put(A, "case/1", {"1": bodies("case/1", A, 1)["1"] | {"attachments": named(VIDEO)}})
    made.nodes[A].push()
    assert made.nodes[PEER].attachment(*made.at, digest(PHOTO)) is None


@pytest.mark.parametrize("whole_record", [False, True])
def test_erasure_takes_the_files_that_erased_groups_name(made, whole_record):
    made.nodes[A].attach("case", made.at[2], PHOTO)
    what = Reference(A, "case/1", made.at[2])
    made.hub.erasures.erase(what, ["party"], "request", "tester")
    assert made.nodes[PEER].attachment(*made.at, digest(PHOTO)) == PHOTO, "another group named it"
    made.hub.erasures.erase(what, [] if whole_record else ["facts"], "request", "tester", whole=whole_record)
    assert made.hub.store.attachment(*what, digest(PHOTO)) is None
    assert made.nodes[PEER].attachment(*made.at, digest(PHOTO)) is None
    with pytest.raises(HubError):
        made.nodes[A].attach("case", made.at[2], PHOTO)


def test_a_hub_that_sends_another_file_is_not_believed(made):
    made.nodes[A].attach("case", made.at[2], PHOTO)
    made.hub.store.attachment = lambda *at: OTHER
    with pytest.raises(Unreachable, match="not the one asked for"):
        made.nodes[PEER].attachment(*made.at, digest(PHOTO))


def test_the_hub_keeps_files_of_cities_in_its_custody(made):
    body = bodies("inspection/1", PEER, 1)["1"] | {"attachments": named(PHOTO)}
    (leaf,) = made.put(PEER, "inspection/1", {"1": body})
    assert made.hub.desk.attach(PEER, "inspection", PEER, leaf.id, PHOTO)[0] == 201
    assert made.hub.desk.attach(PEER, "inspection/1", PEER, leaf.id, PHOTO)[0] == 200
    assert made.nodes[A].attachment("inspection", PEER, leaf.id, digest(PHOTO)) == PHOTO
    with pytest.raises(NotFound):
        made.hub.desk.attach(PEER, "case", PEER, leaf.id, PHOTO)


def test_fsck_hashes_every_file_again_and_what_is_damaged_can_be_handed_in_anew(made):
    body = bodies("inspection/1", PEER, 1)["1"] | {"attachments": named(PHOTO, OTHER)}
    (leaf,) = made.put(PEER, "inspection/1", {"1": body})
    assert [made.hub.desk.attach(PEER, "inspection", PEER, leaf.id, each)[0] for each in (PHOTO, OTHER)] == [201, 201]

    def check():
        return audit.fsck(made.hub.ledger, made.hub.settings.kinds, made.hub.digest_key)

    assert check().problems == [] and any(line.startswith("2 files ") for line in check().proved)
    store = made.hub.store
    with store.transaction():
        store._write().execute("UPDATE attachment SET content = ? WHERE sha256 = ?", (bytes(64), digest(PHOTO)))
    (problem,) = check().problems
    assert digest(PHOTO) in problem and leaf.id in problem and "evidence attach" in problem
    assert made.hub.desk.attach(PEER, "inspection", PEER, leaf.id, PHOTO)[0] == 201
    assert check().problems == []


def test_no_digest_of_a_record_leads_out_of_a_folder():
    """A signed record may hold any identifier in that place; only 64 hex digits name a file."""
    for text in ("../" * 20 + "etc/", "/" * 64, "g" * 64, "0" * 63, "0" * 65, 7, None):
        assert evidence.attachments({"attachments": [{"sha256": text}]}) == []
    assert len(evidence.attachments({"attachments": [{"sha256": "0" * 64}], "hearing": True, "x": ["y"]})) == 1


def node(made, code, *arguments):
    """A command of a city's own node, while nothing else has its folder open."""
    if code in made.nodes:
        made.nodes.pop(code).close()
    return run("partner", *arguments, "--data", made.folder / code)


def run(*arguments):
    command = [sys.executable, "-c", "from hub.cli import main; main()", *map(str, arguments)]
    env = os.environ | {"CROSSREGION_PASSPHRASE": PHRASE}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=env)


def test_by_command(made, tmp_path):
    photo, large = tmp_path / "photo", tmp_path / "large"
    photo.write_bytes(PHOTO)
    with large.open("wb") as file:
        file.truncate(evidence.MOST_FILE + 1)
    (tmp_path / "trust.json").write_bytes(made.hub.trust_file().dump())
    told = node(made, A, "attach", "case", made.at[2], photo)
    assert told.returncode == 0 and f"photo: kept, {len(PHOTO)} bytes" in told.stdout, told.stderr
    told = node(made, A, "attach", "case", made.at[2], large)
    assert told.returncode == 1 and "larger than 8 MiB" in told.stderr
    bundle, folder = tmp_path / "bundle.json", tmp_path / "files"
    told = node(made, PEER, "evidence", *made.at, "--files", folder, "--out", bundle)
    assert told.returncode == 0 and "item 2 of attachments: nobody brought its file here" in told.stderr, told.stderr
    assert [path.name for path in folder.iterdir()] == [digest(PHOTO)]
    good = run("verify", bundle, folder / digest(PHOTO), "--trust", tmp_path / "trust.json")
    assert good.returncode == 0 and "is item 1 of attachments" in good.stdout
