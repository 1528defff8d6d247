"""New keys overwrite none, a city's announcement is believed only as a whole, and what it pins is what the framework reads."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hub_parts import PHRASE, bodies, framework, rig, settings

from adapters.declared import read_yaml
from hub import app, cli, note, partner, pins
from hub.errors import ConfigError, HubError, KeyRefused, RecordError
from hub.framework import parse_framework
from hub.keys import KeyRing, list_keys
from hub.note import parse_vkey

# 330521 signs for itself in the shipped framework, 330503 is in the hub's custody, 330483 signs for itself here alone.
OWN, CUSTODIAL, A = "330521", "330503", "330483"


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path, selves=(OWN, A), pullers=(CUSTODIAL,)) as made:
        yield made


def announcement(made, code):
    return (made.folder / code / partner.ANNOUNCEMENT).read_bytes()


def vkeys(folder):
    return {(each.role, each.owner, each.state): each.vkey for each in list_keys(folder)}


# --- keys new ---


def test_a_city_new_in_custody_gets_its_keys_once_and_the_hub_signs_with_them(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSREGION_PASSPHRASE", PHRASE)
    before = replace(app.with_data(settings(), tmp_path / "hub", None, None), framework=framework(tmp_path, (CUSTODIAL,)))
    ring = app.make_keys(before, tmp_path / "hub" / "keys", PHRASE, app.clock(before)())
    app.Hub(before, tmp_path / "hub", ring).close()
    kept = vkeys(tmp_path / "hub" / "keys")
    assert ("batch", CUSTODIAL, "current") not in kept
    asked = ["keys", "new", "batch", CUSTODIAL, "--json", "--data", str(tmp_path / "hub")]
    done = CliRunner().invoke(cli.main, asked)
    assert done.exit_code == 0, done.output
    after = vkeys(tmp_path / "hub" / "keys")
    assert set(after) - set(kept) == {("batch", CUSTODIAL, "current"), ("batch", CUSTODIAL, "next")}
    assert json.loads(done.output)["vkey"] == after["batch", CUSTODIAL, "current"] and kept.items() <= after.items()
    assert CliRunner().invoke(cli.main, asked).exit_code == 7
    hub = app.Hub(app.with_data(settings(), tmp_path / "hub", None, None), tmp_path / "hub", ring)
    assert [str(key) for key in hub.ledger.chain(CUSTODIAL).keys] == [after["batch", CUSTODIAL, "current"]]
    hub.close()
    assert vkeys(tmp_path / "hub" / "keys") == after


def test_no_key_is_made_in_place_of_one_that_is_there_or_was_lost(made):
    home = made.folder / "hub"
    before = vkeys(home / "keys")

    def new(role, owner):
        return app.new_key(made.settings, home, made.ring, role, owner, made.clock())

    for role, owner in (("batch", CUSTODIAL), ("batch", "hub"), ("http", "hub")):
        with pytest.raises(KeyRefused, match=r"is there|already"):
            new(role, owner)
    for role, owner in (("ledger", "hub"), ("batch", OWN), ("batch", "330599"), ("http", OWN), ("witness", "hub")):
        with pytest.raises(ConfigError, match="no key that this hub makes"):
            new(role, owner)
    assert vkeys(home / "keys") == before
    made.stop()
    # Lost with its first note: the ledger still shows that there was one.
    for name in (f"batch.{CUSTODIAL}.key", f"first.{CUSTODIAL}.note"):
        (home / "keys" / name).unlink()
    with pytest.raises(KeyRefused, match="entries on the ledger under another key"):
        new("batch", CUSTODIAL)
    (home / "keys" / "http.hub.key").unlink()
    assert new("http", "hub") == vkeys(home / "keys")["http", "hub", "current"] != before["http", "hub", "current"]
    with pytest.raises(ConfigError, match="keys init"):
        app.new_key(made.settings, made.folder / "empty", made.ring, "http", "hub", made.clock())
    made.hub = None


def test_a_node_calls_with_its_next_http_key_once_it_is_pinned(made, monkeypatch):
    monkeypatch.setenv("CROSSREGION_PASSPHRASE", PHRASE)
    home, old = made.folder / A, made.made[A]["http_key"]
    made.nodes[A].pull()
    with pytest.raises(KeyRefused, match="no next http key"):
        made.nodes[A].replace_http()
    done = CliRunner().invoke(cli.main, ["keys", "new", "http", A, "--json", "--data", str(home)])
    new = json.loads(done.output)["vkey"]
    assert CliRunner().invoke(cli.main, ["keys", "new", "http", A, "--data", str(home)]).exit_code == 7
    assert vkeys(home / "keys")["http", A, "current"] == old and vkeys(home / "keys")["http", A, "next"] == new
    assert [str(key) for key in made.hub.announced(announcement(made, A)).http] == [old, new]
    # Before the hub knows it, nothing changes: a node that called with it could not get back in.
    with pytest.raises(KeyRefused, match="no signature by a known key"):
        made.nodes[A].replace_http()
    assert vkeys(home / "keys")["http", A, "current"] == old
    made.nodes[A].pull()
    made.made[A]["http_key"] = new
    made.restart()
    with pytest.raises(KeyRefused):
        made.nodes[A].pull()
    made.nodes.pop(A).close()
    made.clock.live = True  # The command goes by the machine's clock.
    done = CliRunner().invoke(cli.main, ["partner", "rotate", "--http", "--json", "--data", str(home)])
    assert json.loads(done.output) == {"origin": A, "vkey": new}
    made.node(A).pull()
    assert [path.name for path in (home / "keys" / "old").iterdir()] == [f"http.{A}.{old.split('+')[1]}.key"]
    with pytest.raises(ConfigError, match=f"this node is that of {A}"):
        partner.new_key(home, made.rings[A], "http", OWN, made.clock)
    with pytest.raises(ConfigError, match="made by `partner init`"):
        partner.new_key(home, made.rings[A], "batch", A, made.clock)


def test_a_change_of_http_keys_that_broke_off_goes_on(made):
    ring, folder = made.rings[A], made.folder / A / "keys"
    made.nodes.pop(A).close()
    new = partner.new_key(made.folder / A, ring, "http", A, made.clock)
    # A crash after the next key came to its place, before it left the other.
    shutil.copy(folder / "next" / f"http.{A}.key", folder / f"http.{A}.key")
    assert str(ring.replace_http(A, "2026-11-22T17:05:00+08:00")) == new
    assert vkeys(folder)["http", A, "current"] == new and ("http", A, "next") not in vkeys(folder)
    assert not (folder / "old").exists(), "the key in use is not put away"


# --- keys pin ---


def test_what_is_printed_is_what_the_framework_reads(made, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSREGION_PASSPHRASE", PHRASE)
    made.stop()
    # The shipped framework, in which only 330521 signs for itself, over a ledger of its own.
    plain = app.with_data(settings(), tmp_path / "plain", None, None)
    ring = app.make_keys(plain, tmp_path / "plain" / "keys", PHRASE, made.clock())
    app.Hub(plain, tmp_path / "plain", ring).close()
    path = made.folder / OWN / partner.ANNOUNCEMENT
    asked = ["keys", "pin", str(path), "--data", str(tmp_path / "plain")]
    told, machine = (CliRunner().invoke(cli.main, asked + more).output for more in ([], ["--json"]))
    found = made.made[OWN]
    assert json.loads(machine) == {
        "code": OWN, "custody": "self", "first_key": found["first_key"], "http_keys": [found["http_key"]],
        "witness_key": found["witness_key"], "batch_key": found["batch_key"],
    }  # fmt: skip
    lines = told.splitlines()[1:]
    member, witnesses = "\n".join(lines[:6]), "\n".join(lines[7:])
    text = (cli.base.ROOT / "config" / "framework.yaml").read_text("utf-8")
    (old,) = [line for line in text.splitlines() if line.startswith(f'  "{OWN}"')]
    (tmp_path / "framework.yaml").write_text(text.replace(old, member) + witnesses + "\n", "utf-8")
    read = parse_framework(read_yaml(tmp_path / "framework.yaml"), settings().kinds)
    assert (read.members[OWN].first_key, read.members[OWN].http_keys) == (found["first_key"], (found["http_key"],))
    assert read.members[OWN].name == settings().framework.members[OWN].name
    assert [str(each.vkey) for each in read.witnessing.witnesses] == [found["witness_key"]]


def test_the_last_day_of_a_key_stays_in_the_line(made):
    told = made.hub.announced(announcement(made, OWN))
    member = replace(made.hub.framework.members[OWN], http_until={str(told.http[0]): made.clock().date()})
    assert f'http_keys: [{{key: "{told.http[0]}", until: 2026-11-22}}]' in pins.block(told, "德清县", member)


def signed(made, code, *edit, **changed):
    """The announcement of a city with what it says changed, or a text of it replaced, signed by its own keys."""
    ring, first = made.rings[code], json.loads(announcement(made, code))["first"].encode()
    text = pins.keys_of(ring, code, first)._replace(**changed).text(made.settings.hub.name)
    keys = note.sign(text.replace(*edit) if edit else text, ring.signers(code))
    return json.dumps({"first": first.decode(), "keys": keys.decode()}).encode()


def as_type(vkey, type, name):
    return note.VKey(name, type, parse_vkey(vkey, note.ED25519, note.COSIGNATURE).raw)


def test_one_raw_key_serves_one_role_of_one_owner(made):
    assert made.hub.announced(signed(made, OWN)) == made.hub.announced(announcement(made, OWN))
    batch, http, witness = (made.made[OWN][f"{role}_key"] for role in ("batch", "http", "witness"))
    hubs = vkeys(made.folder / "hub" / "keys")
    for raw in (batch, witness, made.made[A]["http_key"], *hubs.values()):
        with pytest.raises(KeyRefused, match="one public key stands twice"):
            made.hub.announced(signed(made, OWN, http=(as_type(raw, note.ED25519, "mine/http"),)))
    for raw in (batch, http, made.made[A]["http_key"], hubs["ledger", "hub", "current"]):
        with pytest.raises(KeyRefused, match="one public key stands twice"):
            made.hub.announced(signed(made, OWN, witness=as_type(raw, note.COSIGNATURE, "mine/witness")))


def test_an_announcement_that_was_changed_is_refused(made):
    good, other = json.loads(announcement(made, OWN)), json.loads(announcement(made, A))
    mine, theirs = made.made[OWN], made.made[A]
    line = good["keys"].splitlines()[3]
    assert line == f"http {mine['http_key']}"
    for changed in (
        {"keys": good["keys"].replace(mine["http_key"], theirs["http_key"])},
        {"keys": good["keys"].replace(line + "\n", "")},
        {"keys": good["keys"].replace(line + "\n", f"{line}\n{line}\n")},
        {"keys": good["keys"].replace(OWN, CUSTODIAL, 1)},
        {"keys": other["keys"]},
        {"first": other["first"]},
        {"first": good["first"].replace("seq 1", "seq 2")},
        {"first": good["first"].replace("custody self", "custody custodial")},
        {"first": good["keys"]},
        {"keys": good["keys"].replace("announcement/v1", "announcement/v2")},
        {"keys": good["keys"].replace("\n\n", "\nmore words\n\n", 1)},
        {"keys": ""},
    ):
        with pytest.raises(HubError):
            made.hub.announced(json.dumps(good | changed).encode())
    # What the city itself signed is read in one form alone, and only about its own first key.
    for edit in ((b"witness", b"more words\nwitness"), (b"origin", b"origin  "), (b"announcement/v1", b"announcement/v2")):
        with pytest.raises(RecordError):
            made.hub.announced(signed(made, OWN, *edit))
    for changed in ({"first_key": theirs["first_key"]}, {"origin": A}):
        with pytest.raises(RecordError, match="not about the first key/v1 beside it"):
            made.hub.announced(signed(made, OWN, **changed))
    long = announcement(made, OWN) + b" " * pins.MOST
    for raw in (b"", b"[]", b"{}", b"null", b'{"first": 1}', b"\xff", b"[" * 60_000, long):
        with pytest.raises(RecordError, match="not an announcement"):
            made.hub.announced(raw)


def test_of_a_city_on_the_ledger_only_the_keys_in_force_speak(made):
    made.put(A, "case/1", bodies("case/1", A, 1))
    made.nodes[A].push()
    stale = announcement(made, A)
    assert str(made.hub.announced(stale).batch[0]) == made.made[A]["batch_key"]
    made.nodes[A].rotate()
    made.nodes[A].push()
    with pytest.raises(KeyRefused, match=f"not signed by the keys of {A} on the ledger"):
        made.hub.announced(stale)
    partner.new_key(made.folder / A, made.rings[A], "http", A, made.clock)
    told = made.hub.announced(announcement(made, A))
    assert told.first_key == made.made[A]["first_key"] and told.batch == made.hub.ledger.chain(A).keys
    assert len(told.http) == 2


def test_a_city_in_the_hubs_custody_is_pinned_once_its_chain_is_handed_over(made):
    with pytest.raises(KeyRefused, match="keys hand-over 330503 --to"):
        made.hub.announced(announcement(made, CUSTODIAL))
    given = made.hub.hand_over(CUSTODIAL, made.made[CUSTODIAL]["batch_key"])
    told = made.hub.announced(announcement(made, CUSTODIAL))
    assert told.first_key == given["first_key"] != made.made[CUSTODIAL]["first_key"]
    assert KeyRing(made.folder / CUSTODIAL / "keys", PHRASE).signer("batch", CUSTODIAL).vkey in told.batch
