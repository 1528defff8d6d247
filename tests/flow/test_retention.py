"""What a kind lets nobody keep longer is erased once a day, exactly once, and comes back by no way."""

import json
import signal
from collections import Counter
from datetime import date

import pytest
from city_parts import FILES, KIND, PHRASE, START, Clock, Town, row
from click.testing import CliRunner
from expiry_racer import Expirer
from hub_parts import bodies, rig

from hub import cli, erasure, record
from hub.intake import Reference

CANARY = "王某某的秘密"
WHOLE = "  - {after: 30 days, from: checked_on, law: 某规定, article: 第九条}\n"
GROUP = "  - {after: 1 month, from: checked_on, groups: [party], law: 某规定, article: 第八条}\n"
OLD, LAST_DAY, NEW = "2026-09-01", "2026-10-23", "2026-11-20"
CUSTODIAL = "330503"


def at_hub(folder, rules=WHOLE, **more):
    return Town(folder, web=False, retention=rules, **more)


def id_of(town, code):
    return town.hub.issuer(FILES).id_of(KIND, json.dumps([str(code)]))


def tombstones(town):
    """Every revision of every tombstone on the ledger: of which record, and what it says."""
    found = []
    for entry in town.store.entries(0, 100_000):
        for held in town.store.leaves(entry.first, entry.count) if entry.first else ():
            parsed = record.parse(held.raw) if held.raw else None
            if parsed and parsed.kind == erasure.KIND:
                fields = record.reveal(parsed, held.disclosures.values())
                found.append(parsed.open | fields["officers"] | {"rev": parsed.rev})
    return found


def salts(town, code):
    """The salts of a record's revisions: what tells its bytes in a file."""
    name = f'"id":"{id_of(town, code)}"'.encode()
    return [record.parse(held.raw).salt.encode() for held in town.store.leaves(1, 10_000) if name in (held.raw or b"")]


# --- what goes, and what stays ---


def test_records_past_their_span_are_gone_from_every_table_and_file(tmp_path):
    with at_hub(tmp_path) as town:
        town.drop(row(1, holder=CANARY, checked=OLD), row(2, checked=NEW), row(3, checked=""))
        town.pull()
        town.drop(row(1, fee=11, holder=CANARY, checked=OLD), row(2, checked=NEW), row(3, checked=""))
        town.pull(full=True)
        # A later look cannot read the row any more: it is set aside, and told apart as record 1's.
        town.drop(row(1, "many", holder=CANARY, checked=OLD), row(2, checked=NEW), row(3, checked=""))
        town.pull(full=True)
        assert [each.id for each in town.store.quarantine()] == [id_of(town, 1)]
        gone, kept, raws = salts(town, 1), salts(town, 2), town.files()
        assert len(gone) == 2 and all(salt in raws for salt in gone + kept)
        (due,) = town.hub.erasures.expired()
        assert due.plain() == {
            "origin": FILES, "kind": KIND, "id": id_of(town, 1), "groups": ["*"], "reason": "retention",
            "kept_until": "2026-10-01", "law": "某规定第九条",
        }  # fmt: skip
        assert town.hub.erasures.expire() == 1
        raws = town.files()
        assert not any(salt in raws for salt in gone) and all(salt in raws for salt in kept)
        assert sorted(town.view()) == ["2", "3"] and town.store.quarantine() == []
        assert town.store.known(FILES, KIND, [id_of(town, 1)]) == {}
        (stone,) = tombstones(town)
        told = {name: stone[name] for name in ("of_record", "whole", "reason", "erased_by")}
        assert told == {"of_record": id_of(town, 1), "whole": True, "reason": "retention", "erased_by": "retention"}
        # It is still in the city's system, and comes back by no pull.
        town.drop(row(1, fee=12, holder=CANARY, checked=OLD), row(2, checked=NEW), row(3, checked=""))
        assert town.pull(full=True).pull.stored == 0
        size = town.store.size()
        assert list(town.hub.erasures.expired()) == [] and town.hub.erasures.expire() == 0
        assert town.store.size() == size
        town.sound()
        town.hub.verify()


def test_a_group_goes_first_and_the_rest_with_its_own_span(tmp_path):
    with at_hub(tmp_path, GROUP + WHOLE.replace("30 days", "60 days"), clock=Clock(START)) as town:
        town.drop(row(1, checked="2026-10-01"), row(2, checked=NEW))
        town.pull()
        assert town.hub.erasures.expire() == 1 and town.hub.erasures.expire() == 0
        assert "holder" not in town.view()["1"] and "holder" in town.view()["2"]
        assert town.view()["1"]["checked_on"] == "2026-10-01"
        town.clock.on(days=10)
        assert town.hub.erasures.expire() == 1 and sorted(town.view()) == ["2"]
        assert Counter((each["of_record"], each["whole"]) for each in tombstones(town)) == {
            (id_of(town, 1), False): 1, (id_of(town, 1), True): 1,
        }  # fmt: skip
        town.sound()


def test_the_last_day_is_still_kept(tmp_path):
    with at_hub(tmp_path) as town:
        town.drop(row(1, checked=LAST_DAY))
        town.pull()
        town.clock.at = START.replace(hour=23, minute=59)
        assert list(town.hub.erasures.expired()) == []
        town.clock.on(minutes=1)
        assert [each.what.id for each in town.hub.erasures.expired()] == [id_of(town, 1)]


def test_what_was_retracted_is_kept_from_its_retraction_on(tmp_path):
    with at_hub(tmp_path) as town:
        town.drop(row(1, checked=LAST_DAY), row(2, checked=NEW), row(3, checked=NEW))
        town.pull()
        town.drop(row(2, checked=NEW), row(3, checked=NEW))
        town.pull(full=True)
        town.clock.on(days=30)
        assert [each.what.id for each in town.hub.erasures.expired() if each.what.id == id_of(town, 1)] == []
        town.clock.on(days=1)
        assert id_of(town, 1) in [each.what.id for each in town.hub.erasures.expired()]
        town.hub.erasures.expire()
        assert town.view() == {} and town.revs() == []
        town.sound()


def test_without_a_rule_nothing_goes(tmp_path):
    with Town(tmp_path, web=False) as town:
        town.drop(row(1, checked="1990-01-01"))
        town.pull()
        assert town.hub.erasures.expire() == 0 and sorted(town.view()) == ["1"]


def test_the_commands_tell_first_and_erase_then(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSREGION_PASSPHRASE", PHRASE)
    with at_hub(tmp_path) as town:
        town.drop(row(1, holder=CANARY, checked="2020-01-01"), row(2, checked=date.today()))
        town.pull()
        wanted = {"origin": FILES, "kind": KIND, "id": id_of(town, 1), "groups": ["*"], "reason": "retention",
                  "kept_until": "2020-01-31", "law": "某规定第九条"}  # fmt: skip
    where = ["--config", str(tmp_path / "config"), "--data", str(tmp_path / "hub")]
    # The commands go by the machine's clock.
    for command, told in (("due", {"due": [wanted]}), ("run", {"erased": 1}), ("due", {"due": []}), ("run", {"erased": 0})):
        done = CliRunner().invoke(cli.main, ["retention", command, "--json", *where])
        assert (done.exit_code, json.loads(done.output)) == (0, told)
    done = CliRunner().invoke(cli.main, ["retention", "due", *where])
    assert done.exit_code == 0 and CANARY not in done.output
    with at_hub(tmp_path) as town:
        assert sorted(town.view()) == ["2"]


# --- when ---


def test_the_tick_does_it_once_a_day(tmp_path):
    with at_hub(tmp_path) as town:
        town.drop(row(1, checked=OLD), row(2, checked="2026-10-24"))
        town.pull()
        town.hub.tick()
        assert sorted(town.view()) == ["2"]
        looked = []
        town.hub.erasures.expired = lambda: looked.append(1) or iter(())
        town.hub.tick()
        assert looked == []
        del town.hub.erasures.expired
        town.clock.on(days=2)
        town.hub.tick()
        assert town.view() == {} and len(tombstones(town)) == 2


@pytest.mark.parametrize("moment", ["second", "scrub", "noted"])
def test_what_a_killed_run_left_undone_the_next_one_does(tmp_path, moment):
    with at_hub(tmp_path) as town:
        town.drop(*(row(n, checked=OLD) for n in range(5)), row(9, checked=NEW))
        town.pull()
        gone = [salt for n in range(5) for salt in salts(town, n)]
        at = town.clock.at
    killed = Expirer(tmp_path, at, moment, 2)
    killed.process.join(60)
    assert killed.process.exitcode == -signal.SIGKILL
    with at_hub(tmp_path, clock=Clock(at)) as town:
        left = {"second": 3, "scrub": 0, "noted": 0}[moment]
        assert len(list(town.hub.erasures.expired())) == left
        town.hub.erasures.expire_daily()
        assert sorted(town.view()) == ["9"] and town.store.get(erasure.EXPIRED) == at.date().isoformat()
        assert Counter(each["rev"] for each in tombstones(town)) == {1: 5}
        assert len({each["of_record"] for each in tombstones(town)}) == 5
        raws = town.files()
        assert not any(salt in raws for salt in gone)
        town.sound()


def test_of_two_processes_one_erases(tmp_path):
    with at_hub(tmp_path) as town:
        town.drop(*(row(n, checked=OLD) for n in range(5)))
        town.pull()
        at = town.clock.at
    both = [Expirer(tmp_path, at, "listed", 1_000) for _ in range(2)]
    for each in both:
        assert each.pipe.recv() == "listed"
    for each in both:
        each.pipe.send("go")
    assert sorted(each.pipe.recv() for each in both) == ["done", "fenced"]
    for each in both:
        each.process.join(60)
    with at_hub(tmp_path, clock=Clock(at)) as town:
        assert [each["rev"] for each in tombstones(town)] == [1] * 5
        notices = [each for code in town.hub.framework.members for each in town.store.notices(code, 0, 100)]
        assert len(notices) == 5 * len(town.hub.framework.members)
        town.sound()


# --- what it costs ---


def test_a_thousand_records_take_one_walk(tmp_path, monkeypatch):
    with at_hub(tmp_path) as town:
        town.drop(*(row(n, checked=OLD) for n in range(1_000)), row("x", checked=NEW))
        town.pull()
        town.drop(*(row(n, fee=12, checked=OLD) for n in range(1_000)), row("x", checked=NEW))
        town.pull(full=True)
        entries, read = town.store.size(), Counter()
        leaves = town.store.leaves
        counted = lambda first, count: read.update(range(first, first + count)) or leaves(first, count)  # noqa: E731
        monkeypatch.setattr(town.store, "leaves", counted)
        assert town.hub.erasures.expire() == 1_000
        # Once to see what is due, once to take it out: each leaf, however many records go.
        assert len([n for n in read if n < 2_003]) == 2_002 and max(read[n] for n in range(1, 2_003)) == 2
        assert town.store.size() == entries + 1, "all tombstones in one batch"
        assert sorted(town.view()) == ["x"]


def test_a_node_carries_out_many_notices_in_one_walk(tmp_path, monkeypatch):
    with rig(tmp_path, selves=(), pullers=(CUSTODIAL,)) as made:
        cases = made.put(CUSTODIAL, "case/1", bodies("case/1", CUSTODIAL, 5))
        node = made.nodes[CUSTODIAL]
        node.pull()
        for leaf in cases[:4]:
            made.hub.erasures.erase(Reference(CUSTODIAL, "case/1", leaf.id), [], "retention", "tester", whole=True)
        walks, strip = [], erasure.strip
        monkeypatch.setattr(erasure, "strip", lambda ledger, *rest: walks.append(ledger) or strip(ledger, *rest))
        node.pull()
        assert walks == [node.copy, node.own]
        assert [each["id"] for each in node.records("case/1")] == [cases[4].id]
        assert all(CUSTODIAL in each["said_done"] for each in made.hub.erasures.told())
        node.pull()
        assert len(walks) == 2
