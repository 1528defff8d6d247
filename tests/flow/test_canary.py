"""Personal values put in at one end come out nowhere but in disclosures to whom they belong: every sink is looked through."""

import logging

from city_parts import FILES, KIND, WEB, Town, row
from hub_parts import bodies, rig

from hub import backup
from hub.canonical import unb64url
from hub.intake import Reference
from hub.partner import BATCH_TYPE
from hub.store.sqlite import SqliteStore

CANARY = "金丝雀3304831990"


def sinks(town):
    """Everything that a hub shows, says or writes outside disclosures: name to text."""
    client = town.hub.web().test_client()
    base = {"base_url": town.hub.url}
    pages = {path: client.get(path, **base).get_data(as_text=True) for path in
             ("/", "/?lang=en", "/status.json", "/metrics", "/healthz", "/ledger/checkpoint", "/v1/openapi.json")}  # fmt: skip
    pages |= {f"night {each.night}": str(each.result) for each in town.store.nights("pair", 100)}
    pages["differences"] = str(town.store.differences(closed=True))
    pages["entries"] = "".join(entry.note.decode() for entry in town.store.entries(0, 10_000))
    pages["records"] = "".join((held.raw or b"").decode() for held in town.store.leaves(1, 100_000))
    pages["pulls"] = str(town.store.last_pulls())
    pages["files"] = town.files().decode("utf-8", "replace")
    pages["trust"] = town.hub.trust_file().dump().decode()
    return pages


def test_no_sink_of_a_hub_holds_a_personal_value(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with Town(tmp_path) as town:
        town.drop(row(1, holder=CANARY), row(2, "many", holder=CANARY), row("", holder=CANARY), row(CANARY, holder=CANARY))
        town.web.put(7, holder=CANARY)
        for code in (FILES, WEB):
            town.pull(code)
        # What goes wrong must not tell it either.
        town.web.fault = (1, "cut")
        town.pull(WEB, full=True)
        town.drop(row(1, fee=11, holder=CANARY), row(1, fee=12, holder=CANARY))
        town.pull(full=True)
        town.hub.reconcile("pair", ["2026-11-22"])
        assert town.store.quarantine(), "something was set aside"
        assert any(CANARY in each["holder"] for each in town.view().values()), "the disclosures hold it"
        found = sinks(town)
        assert {name for name, text in found.items() if CANARY in text} == set()
        assert CANARY not in caplog.text and all(CANARY not in path for path in town.web.asked)


def test_nor_does_a_backup_once_it_is_erased(tmp_path):
    with Town(tmp_path, web=False) as town:
        town.drop(row(1, holder=CANARY))
        town.pull()
        id = town.hub.issuer(FILES).id_of(KIND, '["1"]')
        town.hub.erasures.erase(Reference(FILES, KIND, id), [], "request", "tester", whole=True)
        backup.make(town.hub.ledger, tmp_path / "backup", town.clock())
        # Opened with its keys, it holds no leaf of the record any more.
        store = SqliteStore(tmp_path / "backup" / "store.db", town.hub._secrets.vault())
        opened = [unb64url(text.encode()).decode() for each in store.leaves(1, 1_000) for text in each.disclosures.values()]
        assert opened and not any(CANARY in text for text in opened)
        assert not any(each.raw and f'"id":"{id}"'.encode() in each.raw for each in store.leaves(1, 1_000))
        store.close()


def test_a_refused_push_tells_nothing_of_what_it_held(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with rig(tmp_path, selves=("330483",), pullers=()) as made:
        body = bodies("case/1", "330483", 1)["1"] | {"party_name": CANARY, "facts": CANARY * 3}
        made.put("330483", "case/1", {"1": body})
        node = made.nodes["330483"]
        entry = node.own_store.entry_at("330483", 2)
        whole = node._body(entry).decode()
        node._client.post("/v1/batches", node._body(node.own_store.entry_at("330483", 1)), BATCH_TYPE)
        for broken in (whole.replace('"rev":1', '"rev":0'), whole[: len(whole) // 2] + "\n", whole.replace("WyJ", "WyK", 1)):
            reply = node._client.post("/v1/batches", broken.encode(), BATCH_TYPE)
            assert reply.status >= 400 and CANARY not in reply.body.decode()
        assert CANARY not in caplog.text


def test_the_sweep_would_find_it(tmp_path):
    """The same looking finds a value that does stand open: the test can fail."""
    with Town(tmp_path, web=False) as town:
        town.drop(row(1, fee=4711))
        town.pull()
        assert "4711.00" in sinks(town)["records"]
