"""The embedded store keeps the contract, and opens files by one sound copy of SQLite only."""

import stat

import msgspec
import pytest
import sqlite_utils.utils
from store_contract import StoreContract, leaf

from hub.errors import HubError, KeyRefused
from hub.keys import Vault
from hub.store import engine
from hub.store.base import Attached
from hub.store.sqlite import SqliteStore

KEY = bytes(range(32))


class TestSqliteStore(StoreContract):
    def open(self, folder):
        return SqliteStore(folder / "hub.db", Vault(KEY))

    def test_the_file_is_for_its_owner_only(self, store, tmp_path):
        assert stat.S_IMODE((tmp_path / "hub.db").stat().st_mode) == 0o600

    def test_an_attachment_opens_under_its_own_digest_alone(self, store):
        with store.transaction():
            store.put_attachment(Attached("330483", "case/1", "a", "00", "facts"), b"one")
            store._db().execute("UPDATE attachment SET sha256 = '11'")
        with pytest.raises(KeyRefused):
            store.attachment("330483", "case/1", "a", "11")

    def test_disclosures_kept_as_maps_by_an_earlier_store_are_read_on(self, store):
        texts = [{"party": "a", "facts": "b"}, {}]
        sealed = Vault(KEY).seal(msgspec.msgpack.encode(texts), b"1")
        row = (1, 2, msgspec.msgpack.encode(([b"{1}", None], [None, b"h" * 32])), sealed)
        with store.transaction():
            store._db().execute("INSERT INTO segment VALUES (?, ?, ?, ?)", row)
            assert store.append_leaves([leaf(3)], [b"h" * 32]) == 3
        kept = [(held.raw, held.hash, held.disclosures) for held in store.leaves(1, 3)]
        assert kept == [(b"{1}", None, texts[0]), (None, b"h" * 32, {}), (leaf(3).raw, None, leaf(3).disclosures)]
        with store.transaction():
            store.forget_disclosures(1, b"h" * 32, ["party"])
        assert [held.disclosures for held in store.leaves(1, 2)] == [{"facts": "b"}, {}]

    def test_acknowledged_data_is_synced_and_the_journal_fits_the_version(self, store):
        assert store._db().execute("PRAGMA synchronous").fetchone()[0] == 2
        assert store._db().execute("PRAGMA journal_mode").fetchone()[0].upper() == engine.journal_mode()
        assert (engine.journal_mode() == "WAL") == (engine.version() >= (3, 51, 3))


def test_only_one_copy_of_sqlite_opens_stores(tmp_path):
    assert engine.sqlite3 is sqlite_utils.utils.sqlite3
    store = SqliteStore(tmp_path / "hub.db", Vault(KEY))
    assert type(store._db()).__module__.split(".")[0].lstrip("_") == engine.sqlite3.__name__.split(".")[0].lstrip("_")
    store.close()


def test_what_is_no_database_is_refused_in_words(tmp_path):
    (tmp_path / "hub.db").write_bytes(b"not a database, but long enough to be taken for one" * 99)
    with pytest.raises(HubError, match="no database"):
        SqliteStore(tmp_path / "hub.db", Vault(KEY))
