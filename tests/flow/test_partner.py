"""Push and pull over real HTTP: what a hub takes and refuses, what a copy holds and never believes."""

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import hub_parts
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hub_parts import KINDS, PHRASE, ROOT, bodies, packed, pushed, rig, sealed, signed
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from adapters.declared import read_yaml
from hub import app, audit, batch, desk, merkle, note, partner, record
from hub.canonical import b64url
from hub.errors import HubError, KeyRefused, Tampered, Unreachable
from hub.keys import KeyRing, pin_of
from hub.ledger import Pin
from hub.note import parse_vkey
from hub.wire import Client, HttpKey

A, B, CUSTODIAL = "330483", "330521", "330503"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A hub with both self cities' first keys on its ledger, for tests that store nothing."""
    with rig(tmp_path_factory.mktemp("served")) as made:
        for code in made.selves:
            made.nodes[code].push()
        made.ledger_key = parse_vkey(made.card.ledger)
        yield made


@pytest.fixture
def unchanged(served):
    """Asserts that nothing at all was stored."""
    store = served.hub.store
    before = (store.size(), store.view_digests(), served.hub.ledger.checkpoint())
    yield served
    assert (store.size(), store.view_digests(), served.hub.ledger.checkpoint()) == before


def sound(made):
    report = audit.fsck(made.hub.ledger, KINDS, made.hub.digest_key)
    assert report.problems == [], report.problems


def clean(node):
    report = audit.fsck(node.copy, KINDS, node.digest_key)
    assert report.problems == [], report.problems


# --- push ---


def test_a_push_is_acknowledged_by_a_receipt_and_again_by_the_same(tmp_path):
    with rig(tmp_path, pullers=()) as made:
        made.nodes[A].push()
        leaves = sealed(made, A, "case/1", 3)
        body = packed(signed(made, A, leaves), leaves)
        status, receipt = made.push(A, body)
        raw, _ = batch.unpack(body)
        index, sealed_at = audit.check_proof(
            receipt["receipt"].encode(), merkle.leaf_hash(raw), parse_vkey(made.card.ledger)
        )
        assert (status, index, sealed_at.size) == (201, receipt["index"], made.hub.store.size())
        assert (receipt["origin"], receipt["seq"]) == (A, 2)
        made.nodes[B].push()
        assert made.push(A, body) == (200, receipt)
        assert [held.raw for held in made.hub.store.leaves(made.hub.store.entry(index).first, 3)] == [
            x.raw for x in leaves
        ]
        sound(made)


def test_gap_and_fork_say_what_would_continue_the_chain(unchanged):
    chain = unchanged.hub.ledger.chain(A)
    leaves = sealed(unchanged, A, "case/1")
    other = batch.NOTHING
    for seq, prev, error in (
        (chain.seq + 1, chain.prev, "gap_error"),
        (chain.seq + 5, chain.prev, "gap_error"),
        (chain.seq, other, "fork_error"),
        (chain.seq - 1, other, "fork_error"),
    ):
        raw = signed(unchanged, A, leaves, chain=replace(chain, seq=seq, prev=prev))
        status, answer = unchanged.push(A, packed(raw, leaves))
        assert (status, answer["error"]) == (409, error)
        assert answer["expected"] == {"seq": chain.seq + 1, "prev": chain.prev}


def by_hand(made, code, kind, key, **changed):
    """A leaf whose body its kind would refuse."""
    (body,) = bodies(kind, code, 1, seed=key).values()
    body |= changed
    body = {name: value for name, value in body.items() if value is not None}
    id = record.record_id(bytes(32), kind, key)
    place = {"origin": code, "id": id, "rev": 1, "at": hub_parts.stamp(), "salt": hub_parts.salt()}
    return record.seal(KINDS[kind], record.plain(bytes(32), KINDS[kind], body), **place)


def test_every_problem_of_every_bad_record_is_listed_and_no_value(unchanged):
    leaves = [
        *sealed(unchanged, A, "case/1", 2),
        by_hand(unchanged, A, "case/1", "x", stage="CANARY", region_code="CANARY", fine_yuan="1.5"),
        *sealed(unchanged, A, "inspection/1", 1),
        by_hand(unchanged, A, "case/1", "y", party_name=None, filed_on="2026-02-30"),
    ]
    status, answer = pushed(unchanged, A, leaves)
    found = {problem["where"] for problem in answer["problems"]}
    assert status == 422 and answer["error"] == "record_error"
    assert {"records.2.stage", "records.2.region_code", "records.2.fine_yuan", "records.4.filed_on"} <= found
    assert any(where.startswith("records.4.party_name") for where in found), found
    assert all(where.split(".")[1] in "24" for where in found)
    assert all(problem["what"] for problem in answer["problems"]) and "CANARY" not in json.dumps(answer)


def tampered(disclosure, **fields):
    salt, group, body = json.loads(base64.urlsafe_b64decode(disclosure + "=="))
    return b64url(
        json.dumps([salt, group, body | fields], ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    ).decode()


def resealed(leaf, **disclosures):
    """The same leaf with other disclosures, their digests put into the record."""
    from hashlib import sha256

    from hub.canonical import encode

    parsed = json.loads(leaf.raw)
    for group, text in disclosures.items():
        parsed["sealed"][group] = b64url(sha256(text.encode()).digest()).decode()
    return told(leaf._replace(raw=encode(parsed)), leaf.disclosures | disclosures)


def told(leaf, disclosures):
    """The same leaf with other disclosures."""
    return leaf._replace(groups=tuple(disclosures), line=record.line_of(disclosures.values()))


BAD = {
    "a group is not disclosed": lambda leaf: told(leaf, {k: v for k, v in leaf.disclosures.items() if k != "identity"}),
    "a disclosure of nothing": lambda leaf: told(leaf, leaf.disclosures | {"x": leaf.disclosures["facts"]}),
    "another disclosure than sealed": lambda leaf: told(
        leaf, leaf.disclosures | {"party": tampered(leaf.disclosures["party"], party_name="别人")}
    ),
    "a mask that is not its field's": lambda leaf: resealed(
        leaf, party_masked=tampered(leaf.disclosures["party_masked"], party_name="别*")
    ),
    "a record of another city": lambda leaf: leaf._replace(raw=leaf.raw.replace(A.encode(), B.encode(), 1)),
    "an unknown kind": lambda leaf: leaf._replace(raw=leaf.raw.replace(b'"case/1"', b'"case/9"')),
    "not canonical": lambda leaf: leaf._replace(raw=leaf.raw.replace(b'"rev":1', b'"rev": 1')),
    "rev 2 without rev 1": lambda leaf: leaf._replace(raw=leaf.raw.replace(b'"rev":1', b'"rev":2')),
    "not a record": lambda leaf: leaf._replace(raw=b"{}"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_is_refused_with_its_batch(unchanged, what):
    good, leaf = sealed(unchanged, A, "case/1", 2)
    status, answer = pushed(unchanged, A, [good, BAD[what](leaf)])
    assert status == 422 and answer["what"], answer


def test_hub_only_kinds_are_refused(unchanged):
    body = {"agreement": "jiahu", "version": 2, "in_force_on": "2022-05-01"}
    body |= {"digest": "0" * 64, "text": "{}"}
    kind = KINDS["framework/1"]
    content = record.plain(bytes(32), kind, body)
    place = {"origin": A, "id": "A" * 22, "rev": 1, "at": hub_parts.stamp(), "salt": hub_parts.salt()}
    leaf = record.seal(kind, content, **place)
    status, answer = pushed(unchanged, A, [leaf])
    assert (status, answer["problems"][0]["where"]) == (422, "records.0.kind")


@pytest.mark.parametrize(
    "cut",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body + b"{}\n",
        lambda body: body.replace(b"batch/v1", b"batch/v2"),
        lambda body: b"[" * 100_000 + b"\n",
        lambda body: b"\n".join(body.split(b"\n")[:3]) + b"\n",
    ],
)
def test_a_broken_body_is_refused_whole(unchanged, cut):
    leaves = sealed(unchanged, A, "case/1", 2)
    body = packed(signed(unchanged, A, leaves), leaves)
    status, answer = unchanged.push(A, cut(body))
    assert status == 422 and answer["what"]
    assert isinstance(unchanged.push(A, body.replace(b"count 2", b"count 3")), KeyRefused)


def test_nobody_pushes_what_is_anothers(unchanged):
    """Pusher × whose entries × whose batch key: only its own, with its own key, if it signs for itself."""
    made = unchanged
    unknown = HttpKey.signing(A, note.signer("stranger", Ed25519PrivateKey.generate()))
    stranger = Client(made.card.url, unknown, made.card.http, now=made.clock)
    for pusher in (A, B, CUSTODIAL, "stranger"):
        for origin in (A, B, CUSTODIAL, "hub"):
            for signer in (A, B, CUSTODIAL, "hub"):
                if pusher == origin == signer and origin in made.selves:
                    continue
                leaves = [
                    leaf._replace(raw=leaf.raw.replace(A.encode(), origin.encode(), 1))
                    for leaf in sealed(made, A, "case/1")
                ]
                signers = [made.signer(signer)]
                raw = batch.make(
                    made.card.hub,
                    made.hub.ledger.chain(origin),
                    [merkle.leaf_hash(x.raw) for x in leaves],
                    signers,
                    hub_parts.stamp(),
                )
                if pusher == "stranger":
                    with pytest.raises(KeyRefused, match="HTTP 401"):
                        stranger.post("/v1/batches", packed(raw, leaves), hub_parts.TYPE)
                else:
                    answer = made.push(pusher, packed(raw, leaves))
                    assert isinstance(answer, KeyRefused) and "HTTP 403" in str(answer), (
                        pusher,
                        origin,
                        signer,
                        answer,
                    )
    stranger.close()


def test_only_the_pinned_first_key_begins_a_chain(tmp_path):
    with rig(tmp_path, pullers=()) as made:
        first = made.nodes[A].own  # Not pushed yet: the hub knows only the pin.
        made.nodes[A].issuer(A)
        other = KeyRing(tmp_path / "other", PHRASE).first_note(made.card.hub, A, "self", hub_parts.stamp())
        custodial = KeyRing(tmp_path / "third", PHRASE).first_note(made.card.hub, A, "custodial", hub_parts.stamp())
        for raw in (other, custodial):
            assert isinstance(made.push(A, packed(raw, [])), KeyRefused)
        leaves = sealed(made, A, "case/1")
        assert made.push(A, packed(signed(made, A, leaves), leaves))[0] == 409
        assert made.hub.ledger.chain(A).seq == 0
        assert made.push(A, packed(first.store.entry_at(A, 1).note, []))[0] == 201
        assert made.push(A, packed(signed(made, A, leaves), leaves))[0] == 201


# --- pull ---

SUPERIOR = {
    "330483": "330400",
    "330503": "330500",
    "330521": "330500",
    "330483100": "330483",
    "330503102": "330503",
}


def agreed(plain, kind, origin, open_, op, to):
    """What `to` is owed of a record, straight from the file: None for nothing, else the groups."""
    if origin == to:
        return set(KINDS[kind].groups)
    found = None
    for name, agreement in plain["agreements"].items():
        codes = {member["code"] for member in agreement["members"]}
        if to not in codes:
            continue
        if origin == "hub":
            found = set(KINDS[kind].groups) if open_.get("agreement") == name else found
            continue
        tier = {code: plain["members"][code]["tier"] for code in codes}
        for share in agreement["shares"] if origin in codes else ():
            giver = share["from"] == "all" or origin in share["from"]["codes"]
            taker = {"all": True, "peers": tier[to] == tier[origin], "superior": SUPERIOR.get(origin) == to}[
                share["to"]
            ]
            # A retraction names nobody: it goes to all who may have held the letter.
            direct = "only" not in share or op == "retract" or to in (open_.get("from_region"), open_.get("to_region"))
            if share["kind"] == kind and giver and taker and direct:
                found = (found or set()) | set(share["groups"])
    return found


LETTERS = {"330483": "330503", "330503": "330400", "330522": "341882"}
FILLED = ("330400", "330483", "330503", "330483100", "330521", "330522", "341882")


def canary(code):
    return f"金丝雀{''.join('零一二三四五六七八九'[int(c)] for c in code)}止"


def fill(made):
    """Records of every kind, from all tiers and both cooperations, revised and taken back, with canaries."""
    for code in FILLED:
        name = canary(code)
        for kind in ("case/1", "inspection/1"):
            found = bodies(kind, code, 4)
            for body in found.values():
                if body["party_type"] == "2":
                    body["party_name"] = name
                    if "object_name" in body:
                        body["object_name"] = name
                else:
                    body["legal_rep_name"] = name
            made.put(code, kind, found)
        if code in LETTERS:
            found = bodies("transfer/1", code, 3, to=LETTERS[code])
            for body in found.values():
                body |= {"party_name": name, "party_type": "2"}
            made.put(code, "transfer/1", found)
            key, body = next(iter(found.items()))
            made.put(code, "transfer/1", {key: body | {"reminders": 3}})
            issuer = made.issuer(code)
            issuer.issue([hub_parts.withdrawn(issuer, "transfer/1", list(found)[1])])
    for code in made.selves:
        made.nodes[code].push()


def content(store):
    """Everything a store holds of records, in clear."""
    for entry in store.entries(0, 10**6):
        for held in store.leaves(entry.first, entry.count) if entry.first is not None else ():
            texts = [base64.urlsafe_b64decode(text + "==").decode() for text in held.disclosures.values()]
            yield entry, held, (held.raw or b"").decode() + "".join(texts)


def test_each_copy_is_the_whole_tree_and_of_records_what_was_agreed(tmp_path):
    others = tuple(code for code in hub_parts.settings().framework.members if code not in hub_parts.SELVES)
    plain = read_yaml(ROOT / "config" / "framework.yaml").value
    with rig(tmp_path, pullers=others) as made:
        fill(made)
        truth = made.hub.store
        raw, head = made.hub.ledger.checkpoint()
        seen = dict.fromkeys(("whole", "part", "bare", "hash"), 0)
        for code, node in made.nodes.items():
            assert node.pull()["size"] == head.size == truth.size()
            assert node.copy.checkpoint() == (raw, head)
            assert merkle.root(node.copy_store.tile, head.size) == head.root
            clean(node)
            for entry, mine in zip(truth.entries(0, 999), node.copy_store.entries(0, 999), strict=True):
                assert (mine.note, mine.origin, mine.seq) == (entry.note, entry.origin, entry.seq)
                if entry.first is None:
                    continue
                held = (
                    list(node.copy_store.leaves(mine.first, mine.count))
                    if mine.first is not None
                    else [None] * entry.count
                )
                for full, part in zip(truth.leaves(entry.first, entry.count), held, strict=True):
                    parsed = record.parse(full.raw)
                    owed = agreed(plain, parsed.kind, parsed.origin, parsed.open, parsed.op, code)
                    if owed is None:
                        assert part is None or (part.raw is None and part.hash == merkle.leaf_hash(full.raw))
                        seen["hash"] += 1
                        continue
                    assert part is not None and part.raw == full.raw, (
                        code,
                        parsed.kind,
                        parsed.origin,
                        parsed.op,
                    )
                    assert part.disclosures == {g: t for g, t in full.disclosures.items() if g in owed}
                    seen["whole" if part.disclosures == full.disclosures else "part" if owed else "bare"] += 1
        assert all(seen.values()), seen
        personal(made)


def personal(made):
    """No canary reaches a copy whose partner may not know it, and none rests anywhere in clear."""
    for code, node in made.nodes.items():
        found = "".join(text for _, _, text in content(node.copy_store))
        for origin in FILLED:
            knows = code == origin or LETTERS.get(origin) == code
            assert (canary(origin) in found) == knows, (code, origin)
    for path in made.folder.rglob("*"):
        assert not path.is_file() or "金丝雀".encode() not in path.read_bytes(), path


# --- interruption, forks and lies ---


def entries_of(made):
    return [(entry.origin, entry.seq, entry.note) for entry in made.hub.store.entries(0, 10**6)]


def test_a_pull_interrupted_anywhere_goes_on_from_there(tmp_path, monkeypatch):
    monkeypatch.setattr(desk, "PAGE_ENTRIES", 3)
    with rig(tmp_path, pullers=(CUSTODIAL,)) as made:
        for n in range(4):
            made.put("330400", "case/1", bodies("case/1", "330400", 2, seed=str(n)))
        node, calls = made.nodes[CUSTODIAL], 0
        size, reached = made.hub.store.size(), []
        while True:
            asked = iter(range(99))
            whole = node._client.get

            def get(path, query=None, asked=asked, whole=whole, stop=1 + calls % 3):
                if next(asked) == stop:
                    raise Unreachable("cut off")
                return whole(path, query)

            node._client.get = get
            calls += 1
            try:
                node.pull()
                break
            except Unreachable:
                clean(node)
                reached.append(node.copy_store.size())
                node = made.node(CUSTODIAL)
        assert reached == sorted(reached) and len(set(reached)) > 3 and node.copy_store.size() == size
        assert node.copy.checkpoint() == made.hub.ledger.checkpoint()
        clean(node)


def twin(made, *, before, after, other):
    """Two histories under the same keys: `before` in both, then `after` is pulled and `other` is served."""

    def add(names):
        for name in names:
            code = name if name.isdigit() else "330400"
            made.put(code, "case/1", bodies("case/1", code, 1, seed=name))

    add(before)
    made.stop()
    shutil.copytree(made.folder / "hub", made.folder / "twin")
    made.open()
    add(after)
    for code in made.nodes:
        made.nodes[code].pull()
    made.stop()
    (made.folder / "hub").rename(made.folder / "first")
    (made.folder / "twin").rename(made.folder / "hub")
    made.open()
    add(other)


HISTORIES = {
    "shrunken": ((), "shrunk"),
    "same size": ("x", "two trees"),
    "longer": ("xyz", "continue"),
    # Each origin's chain holds by itself: only the tree tells that what is held is no part of it.
    "other cities'": (("330500", "330503"), "forked"),
}


@pytest.mark.parametrize("how", HISTORIES)
def test_another_history_is_refused_and_the_copy_kept(tmp_path, how):
    other, words = HISTORIES[how]
    with rig(tmp_path, pullers=(CUSTODIAL,), selves=()) as made:
        made.clock.live = how == "longer"
        twin(made, before="ab", after="c", other=other)
        node = made.nodes[CUSTODIAL]
        before = node.copy.checkpoint(), node.copy_store.view_digests()
        for _ in range(2):
            with pytest.raises(Tampered, match=words) as caught:
                node.pull()
            assert caught.value.mend and caught.value.exit_code == 5
        assert (node.copy.checkpoint(), node.copy_store.view_digests()) == before
        clean(node)
        if made.clock.live:
            node.close()
            for command, code in (("pull", 5), ("verify", 0)):
                run = partner_command(command, made.folder / CUSTODIAL)
                assert run.returncode == code, run.stderr
                assert "Traceback" not in run.stderr


def partner_command(command, folder):
    return subprocess.run(
        [sys.executable, "-c", "from hub.cli import main; main()", "partner", command, "--data", str(folder)],
        env=os.environ | {"CROSSREGION_PASSPHRASE": PHRASE}, cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip


def test_a_fork_between_two_pages_of_one_pull_is_seen(tmp_path, monkeypatch):
    """The copy holds a part; what the first checkpoint promised of the rest is held against what comes."""
    monkeypatch.setattr(desk, "PAGE_ENTRIES", 12)
    with rig(tmp_path, pullers=(CUSTODIAL,), selves=()) as made:
        made.put("330400", "case/1", bodies("case/1", "330400", 1, seed="a"))
        made.stop()
        shutil.copytree(made.folder / "hub", made.folder / "twin")
        made.open()
        for n in range(3):
            made.put("330400", "case/1", bodies("case/1", "330400", 1, seed=f"b{n}"))
        node = made.nodes[CUSTODIAL]
        whole, asked = node._client.get, iter(range(9))

        def get(path, query=None):
            if next(asked) == 2:
                raise Unreachable("cut off")
            return whole(path, query)

        node._client.get = get
        with pytest.raises(Unreachable):
            node.pull()
        assert 0 < node.copy_store.size() < made.hub.store.size()
        made.stop()
        (made.folder / "hub").rename(made.folder / "first")
        (made.folder / "twin").rename(made.folder / "hub")
        made.open()
        for added in range(5):
            with pytest.raises(Tampered):
                made.node(CUSTODIAL).pull()
            made.put("330400", "case/1", bodies("case/1", "330400", 1, seed=f"c{added}"))


def test_only_the_keys_on_the_card_are_believed(tmp_path):
    with rig(tmp_path, pullers=(CUSTODIAL,), selves=()) as made:
        made.put("330400", "case/1", bodies("case/1", "330400", 1))
        other = {
            name: str(note.signer(name, Ed25519PrivateKey.generate()).vkey)
            for name in (made.card.hub, f"{made.card.hub}/http")
        }
        for changed, error, code in (
            ({"ledger": other[made.card.hub]}, KeyRefused, 7),
            ({"http": other[f"{made.card.hub}/http"]}, Unreachable, 6),
            ({"hub_first_key": batch.NOTHING}, Tampered, 5),
        ):
            node = made.node(CUSTODIAL, **changed)
            with pytest.raises(error) as caught:
                node.pull()
            assert caught.value.exit_code == code and node.copy_store.size() == 0
        node = made.node(CUSTODIAL, hub=made.card.hub)
        assert node.pull()["size"] == made.hub.store.size()
        # A first key that changes after it was seen is a lie, now or then.
        node._pins["330400"] = [batch.NOTHING, "custodial"]
        with pytest.raises(Tampered, match="first key"):
            node.pull()


class Liar:
    """A desk whose pages are altered on the way out, before the right HTTP key signs them."""

    def __init__(self, desk):
        self.desk, self.alter = desk, lambda body: body

    def __getattr__(self, name):
        return getattr(self.desk, name)

    def entries(self, owner, after, notice):
        return self.alter(self.desk.entries(owner, after, notice))

    def push(self, owner, body):
        status, receipt = self.desk.push(owner, body)
        return status, self.receipt(receipt)

    @staticmethod
    def receipt(receipt):
        return receipt


@pytest.fixture(scope="module")
def lied(tmp_path_factory):
    with rig(tmp_path_factory.mktemp("lied"), pullers=(CUSTODIAL,), selves=(A,), serve=False) as made:
        made.hub = made.compose()
        liar = Liar(made.hub._desk_for_web())
        made.hub._desk_for_web = lambda: liar
        made.serve()
        made.liar = liar
        made.put("330400", "case/1", bodies("case/1", "330400", 2))
        made.put(A, "case/1", bodies("case/1", A, 3))
        made.put(A, "transfer/1", bodies("transfer/1", A, 2, to=CUSTODIAL))
        made.nodes[A].push()
        with made.hub.store.transaction():
            body = {"origin": A, "kind": "case/1", "groups": ["facts"], "upto": made.hub.store.size()}
            made.hub.store.add_notices([(CUSTODIAL, "reissue", body)])
        yield made


def alteration(draw):
    """One change of a page: bytes of a line, or lines among each other."""
    how = draw(st.sampled_from(["flip", "drop", "double", "swap", "cut", "insert", "number", "blank", "key"]))
    at, place, value = draw(st.integers(0, 10**6)), draw(st.integers(0, 10**6)), draw(st.integers(1, 255))

    def alter(body):
        lines = body.split(b"\n")[:-1]
        n = at % len(lines)
        line = lines[n]
        k = place % max(len(line), 1)
        match how:
            case "flip":
                lines[n] = line[:k] + bytes([line[k] ^ value]) + line[k + 1 :]
            case "insert":
                lines[n] = line[:k] + bytes([value]) + line[k:]
            case "cut":
                lines[n] = line[:k]
            case "drop":
                del lines[n]
            case "double":
                lines.insert(n, line)
            case "swap":
                m = place % len(lines)
                lines[n], lines[m] = lines[m], line
            case "number":
                digits = [i for i, c in enumerate(line) if 48 <= c <= 57] or [0]
                i = digits[place % len(digits)]
                lines[n] = line[:i] + str(value).encode() + line[i + 1 :]
            case "blank":
                lines[n] = [
                    b"",
                    b"{}",
                    b"[]",
                    b"null",
                    b"0",
                    b'""',
                    b'{"notice":1}',
                    b'{"index":0}',
                    b'{"notice":{}}',
                ][value % 9]
            case "key":
                names = [
                    b'"index"',
                    b'"leaves"',
                    b'"note"',
                    b'"checkpoint"',
                    b'"consistency"',
                    b'"next"',
                    b'"notice"',
                    b'"type"',
                    b'"kind"',
                    b'"groups"',
                    b'"upto"',
                    b'"origin"',
                ]
                lines[n] = line.replace(names[value % len(names)], b'"other"', 1)
        return b"".join(each + b"\n" for each in lines)

    return alter


@given(st.data())
@hypothesis_settings(
    max_examples=600 if os.environ.get("CROSSREGION_FULL") else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_lying_hub_is_never_believed(lied, data):
    """Whatever it changes, the copy holds a true beginning of the ledger and of each record, or nothing."""
    lied.liar.alter = alteration(data.draw)
    node = lied.nodes[CUSTODIAL]
    try:
        node.pull()
    except HubError as error:
        assert error.exit_code
    finally:
        lied.liar.alter = lambda body: body
    clean(node)
    truth = lied.hub.store
    for mine, entry in zip(node.copy_store.entries(0, 999), truth.entries(0, 999), strict=False):
        assert (mine.note, mine.origin, mine.seq, mine.count) == (
            entry.note,
            entry.origin,
            entry.seq,
            entry.count,
        )
        for held, full in zip(
            node.copy_store.leaves(mine.first, mine.count) if mine.first is not None else (),
            truth.leaves(entry.first, entry.count) if entry.first is not None else (),
            strict=mine.first is not None,
        ):
            assert held.raw in (None, full.raw) and held.hash in (None, merkle.leaf_hash(full.raw))
            assert held.disclosures.items() <= full.disclosures.items()
    if node.copy_store.size():
        node.close()
        for part in ("copy", "copy-head"):
            shutil.rmtree(lied.folder / CUSTODIAL / part)
        del lied.nodes[CUSTODIAL]
        lied.node(CUSTODIAL)


def test_a_receipt_that_proves_nothing_acknowledges_nothing(lied):
    node = lied.nodes[A]
    standing = lied.hub.ledger.receipt(lied.hub.store.entry_at(A, 1))
    lied.put(A, "case/1", bodies("case/1", A, 1, seed="receipt"))
    pushed_before = node.status()["own"]["pushed"]
    for lie in (
        lambda told: {},
        lambda told: told | {"receipt": None},
        lambda told: told | {"receipt": standing},
        lambda told: told | {"receipt": told["receipt"].replace("index ", "index 1")},
        lambda told: told | {"receipt": told["receipt"][:-9] + "AAAAAAA=\n"},
    ):
        lied.liar.receipt = lie
        with pytest.raises(HubError):
            node.push()
        assert node.status()["own"]["pushed"] == pushed_before
    lied.liar.receipt = Liar.receipt
    assert node.push()["known"] == 1 and node.status()["own"]["pushed"] == pushed_before + 1


# --- evidence ---


def proof(made, code, kind, origin, id):
    return made.nodes[code]._client.get(f"/v1/records/{kind}/{origin}/{id}/proof")


@pytest.fixture(scope="module")
def evident(tmp_path_factory):
    """A hub with a case and a letter of one city, and its bundle as a peer gets it."""
    with rig(tmp_path_factory.mktemp("evident")) as made:
        cases = made.put(A, "case/1", bodies("case/1", A, 3))
        letters = made.put(A, "transfer/1", bodies("transfer/1", A, 1, to="330522"))
        made.nodes[A].push()
        reply = proof(made, CUSTODIAL, "case", A, cases[1].id)
        assert reply.status == 200
        made.key = parse_vkey(made.card.ledger)
        made.trust = lambda origin: Pin(made.made[A]["first_key"], "self") if origin == A else None
        made.case, made.letter, made.bundle = cases[1], letters[0], json.loads(reply.body)
        yield made


def test_a_bundle_proves_its_record_offline_cut_to_who_asks(evident):
    made = evident
    shown, steps = audit.check_evidence(made.bundle, made.card.hub, made.key, made.trust)
    body = bodies("case/1", A, 3)["2"]
    assert shown["facts"] == body["facts"] and shown["stage"] == body["stage"] and len(steps) == 5
    assert "legal_rep_id" not in shown and "case_code" not in shown
    own, _ = audit.check_evidence(
        json.loads(proof(made, A, "case", A, made.case.id).body), made.card.hub, made.key, made.trust
    )
    assert own["party_name"] == body["party_name"] and own["case_code"] == body["case_code"]
    with pytest.raises(KeyRefused):
        audit.check_evidence(made.bundle, made.card.hub, made.key, lambda origin: None)
    with pytest.raises(KeyRefused):
        audit.check_evidence(made.bundle, made.card.hub, made.key, lambda origin: Pin(batch.NOTHING, "self"))
    with pytest.raises(KeyRefused):
        other = note.signer(made.key.name, Ed25519PrivateKey.generate()).vkey
        audit.check_evidence(made.bundle, made.card.hub, other, made.trust)


def test_withheld_and_unknown_answer_alike(evident):
    asked = [
        proof(evident, "330522", "case", A, evident.case.id),
        proof(evident, "330522", "transfer", A, evident.letter.id),
        proof(evident, CUSTODIAL, "case", A, "A" * 22),
        proof(evident, CUSTODIAL, "case", "999999", evident.case.id),
        proof(evident, CUSTODIAL, "nothing", A, evident.case.id),
        proof(evident, CUSTODIAL, "reconciliation", "hub", evident.case.id),
    ]
    assert {reply.status for reply in asked} == {404} and len({reply.body for reply in asked}) == 1
    plain = [{k.lower() for k in reply.headers} for reply in asked]
    assert all(each == plain[0] for each in plain)


def test_a_ledger_that_holds_what_the_city_never_signed_proves_nothing(evident):
    """The hub can put any note on a ledger of its own; only the city's key makes it the city's."""

    def on_a_ledger(raw):
        root = merkle.root_of([merkle.leaf_hash(raw)])
        checkpoint = note.Checkpoint(made.card.hub, 1, root).text()
        signed_one = note.sign(checkpoint, [made.ring.signer("ledger", "hub")]).decode()
        proof = f"c2sp.org/tlog-proof@v1\nindex 0\n\n{signed_one}"
        return made.bundle | {"note": raw.decode(), "proof": proof}

    made, raw = evident, evident.bundle["note"].encode()
    audit.check_evidence(on_a_ledger(raw), made.card.hub, made.key, made.trust)
    city = made.signer(A).vkey
    forger = note.signer(city.name, Ed25519PrivateKey.generate())
    forged = note.sign(note.parse(raw).text, [forger])
    with pytest.raises(KeyRefused):
        audit.check_evidence(on_a_ledger(forged), made.card.hub, made.key, made.trust)


def texts_in(value, path=()):
    if isinstance(value, dict):
        for key, each in value.items():
            yield from texts_in(each, (*path, key))
    elif isinstance(value, list):
        for n, each in enumerate(value):
            yield from texts_in(each, (*path, n))
    else:
        yield path


@given(st.data())
@hypothesis_settings(max_examples=300, deadline=None)
def test_no_part_of_a_bundle_can_be_changed(evident, data):
    # `clauses` is what the hub says of its reasons: no proof reaches it.
    paths = [path for path in texts_in(evident.bundle) if path[0] != "clauses"]
    path = data.draw(st.sampled_from(paths))
    changed = json.loads(json.dumps(evident.bundle))
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    value = parent[path[-1]]
    if isinstance(value, int):
        parent[path[-1]] = value + data.draw(st.sampled_from([-1, 1, 2**40]))
    else:
        at = data.draw(st.integers(0, len(value) - 1))
        new = data.draw(
            st.sampled_from(["", "A", "0", " ", "\n", "é", "=", chr(ord(value[at]) ^ 1)]).filter(
                lambda c: c != value[at]
            )
        )
        parent[path[-1]] = value[:at] + new + value[at + 1 :]
    with pytest.raises(HubError):
        audit.check_evidence(changed, evident.card.hub, evident.key, evident.trust)


@pytest.mark.parametrize("part", ["bundle", "record", "disclosures", "path", "note", "keys", "proof", "custody"])
def test_no_part_of_a_bundle_can_be_missing_or_of_another_type(evident, part):
    for value in (None, 1, "", [], {}, [1], "x"):
        if part == "disclosures" and value == []:
            continue  # Fewer disclosures show less, and prove the rest.
        with pytest.raises(HubError):
            audit.check_evidence(evident.bundle | {part: value}, evident.card.hub, evident.key, evident.trust)
    with pytest.raises(HubError):
        audit.check_evidence(
            {k: v for k, v in evident.bundle.items() if k != part},
            evident.card.hub,
            evident.key,
            evident.trust,
        )


def test_evidence_says_whose_hands_signed(evident):
    made = evident
    (leaf,) = made.put("330400", "case/1", bodies("case/1", "330400", 1))
    bundle = json.loads(proof(made, "330400", "case", "330400", leaf.id).body)
    pin = Pin(pin_of(made.ring.first_note(made.card.hub, "330400", "custodial", "")), "custodial")
    assert (bundle["custody"], evident.bundle["custody"]) == ("custodial", "self")
    audit.check_evidence(bundle, made.card.hub, made.key, lambda origin: pin)
    with pytest.raises(HubError):
        audit.check_evidence(bundle | {"custody": "self"}, made.card.hub, made.key, lambda origin: pin)
    made.put("330400", "case/1", bodies("case/1", "330400", 1, seed="more"))


# --- an older copy of a node, and custody ---


def lay(made, code):
    """Close a node and lay a copy of its folder aside."""
    made.nodes.pop(code).close()
    shutil.copytree(made.folder / code, made.folder / "aside" / code)
    made.node(code)


def bring_back(made, code, *parts):
    if code in made.nodes:
        made.nodes.pop(code).close()
    for part in parts:
        shutil.rmtree(made.folder / code / part)
        shutil.copytree(made.folder / "aside" / code / part, made.folder / code / part)


def test_a_node_restored_from_an_older_copy_forks_nothing(tmp_path):
    with rig(tmp_path, pullers=()) as made:
        made.put(A, "case/1", bodies("case/1", A, 2, seed="a"))
        made.nodes[A].push()
        lay(made, A)
        made.put(A, "case/1", bodies("case/1", A, 2, seed="b"))
        made.nodes[A].push()
        stood = made.hub.ledger.checkpoint()
        bring_back(made, A, "own")
        with pytest.raises(Tampered, match="older copy"):
            made.node(A)
        # Store and head both older: only the hub can tell, when this node signs its next batch.
        bring_back(made, A, "own", "own-head")
        made.node(A)
        made.put(A, "case/1", bodies("case/1", A, 2, seed="c"))
        for _ in range(2):
            with pytest.raises(Tampered, match="another chain") as caught:
                made.nodes[A].push()
            assert caught.value.mend
        assert made.hub.ledger.checkpoint() == stood
        sound(made)


def test_a_node_that_lost_what_was_acknowledged_resends_nothing_twice(tmp_path):
    """Only its note of what was pushed is lost: every entry is known there, and gets its first receipt."""
    with rig(tmp_path, pullers=()) as made:
        node = made.nodes[A]
        for seed in "ab":
            made.put(A, "case/1", bodies("case/1", A, 1, seed=seed))
        assert node.push() == {"sent": 3, "known": 0, "seq": 3}
        with node.own_store.transaction():
            node.own_store.put("pushed", "0")
        size = made.hub.store.size()
        assert node.push() == {"sent": 0, "known": 3, "seq": 3} and made.hub.store.size() == size
        assert node.push() == {"sent": 0, "known": 0, "seq": 3}


def test_a_self_city_is_signed_for_by_nobody_else(tmp_path):
    with rig(tmp_path, pullers=(CUSTODIAL,)) as made:
        with pytest.raises(HubError, match="signs for itself"):
            made.hub.issuer(A)
        with pytest.raises(KeyRefused):
            made.nodes[A].issuer(B)
        assert not (made.folder / "hub" / "keys" / f"batch.{A}.key").exists()
        # A member in the hub's custody whose own node signs all the same: refused, first key and all.
        made.nodes[CUSTODIAL].issuer(CUSTODIAL)
        with pytest.raises(KeyRefused, match="HTTP 403"):
            made.nodes[CUSTODIAL].push()
        assert made.hub.ledger.chain(CUSTODIAL).custody == "custodial"
        # Not even with the keys that the hub holds for it: its entries come from the hub's intake alone.
        chain = made.hub.ledger.chain(CUSTODIAL)
        leaves = [leaf._replace(origin=CUSTODIAL) for leaf in sealed(made, CUSTODIAL, "case/1")]
        hashes = [merkle.leaf_hash(leaf.raw) for leaf in leaves]
        signer = made.ring.signer("batch", CUSTODIAL)
        raw = batch.make(made.card.hub, chain, hashes, [signer], hub_parts.stamp())
        answer = made.push(CUSTODIAL, packed(raw, leaves))
        assert isinstance(answer, KeyRefused) and made.hub.ledger.chain(CUSTODIAL) == chain


def test_what_is_no_longer_a_member_may_neither_push_nor_pull(tmp_path):
    with rig(tmp_path, pullers=()) as made:
        made.nodes[A].push()
        made.hub.framework = made.hub.framework.with_pins({}, {A: []})
        for ask in (
            made.nodes[A].pull,
            lambda: made.put(A, "case/1", bodies("case/1", A, 1)) and made.nodes[A].push(),
        ):
            with pytest.raises(KeyRefused, match="HTTP 401"):
                ask()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_hub_is_addressed_where_it_listens(tmp_path, host):
    """The port of the command line, not hub.yaml's; a configured public URL stays."""
    shown = f"[{host}]" if ":" in host else host
    settings = app.with_data(hub_parts.settings(), tmp_path, host, 4711)
    assert app.public_url(settings.hub) == f"http://{shown}:4711"
    assert app.public_url(settings.hub, 4712) == f"http://{shown}:4712"
    named = replace(hub_parts.settings(), hub=replace(settings.hub, public_url="https://hub.example.cn"))
    assert app.public_url(app.with_data(named, tmp_path, host, 4711).hub, 4712) == "https://hub.example.cn"


# --- audits ---


def test_a_node_signs_what_it_found_once_a_day(tmp_path):
    with rig(tmp_path, selves=(A,), pullers=(CUSTODIAL,)) as made:
        node = made.nodes[A]
        node.pull()
        assert node.note_audit() and not node.note_audit(), "once"
        node.push()
        node.pull()
        assert not node.note_audit(), "and not again for its own record"
        made.clock.at += timedelta(days=1)
        assert node.note_audit()
        node.push()
        known = dict(made.hub.store.walk(A, partner.AUDIT))
        opens = [record.parse(next(made.hub.store.leaves(each.number, 1)).raw).open for each in known.values()]
        assert sorted(each["audited_on"] for each in opens) == ["2026-11-22", "2026-11-23"]
        assert {each["verdict"] for each in opens} == {"sound"}
        assert opens[0]["entries"] > 0 and len(opens[0]["tree_root"]) == 64
        other = made.nodes[CUSTODIAL]
        other.pull()
        assert not other.note_audit(), "the hub signs for that city"
        sound(made)


def test_a_damaged_copy_is_said_to_be(tmp_path):
    with rig(tmp_path, selves=(A,), pullers=(CUSTODIAL,)) as made:
        made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 1))
        node = made.nodes[A]
        node.pull()
        node.note_audit()
        entry = next(e for e in node.copy_store.entries(0, 1000) if e.origin == CUSTODIAL and e.first)
        with node.copy_store.transaction():
            node.copy_store._change(entry.first, b"{}", None, {})
        assert node.note_audit()
        node.push()
        (known,) = dict(made.hub.store.walk(A, partner.AUDIT)).values()
        assert known.rev == 2
        assert record.parse(next(made.hub.store.leaves(known.number, 1)).raw).open["verdict"] == "damaged"
