"""A nonce is taken once, by one, and durably; each key has a bounded number of them."""

import stat
import threading

import pytest

from hub.errors import HubError
from hub.store import engine
from hub.store.nonces import NonceFile
from hub.wire import MemoryNonces


@pytest.fixture
def opened(tmp_path):
    """Opens the file of this test, as often as asked."""
    files = []

    def opens(each=99, since=0):
        files.append(NonceFile(tmp_path / "store" / "nonces.db", each, since))
        return files[-1]

    yield opens
    for each in files:
        each.close()


@pytest.fixture(params=["file", "memory"])
def make(request, opened):
    return opened if request.param == "file" else MemoryNonces


def test_a_nonce_is_taken_once(make):
    nonces = make(99)
    assert nonces.take("k", "n", 200, 100) and not nonces.take("k", "n", 200, 100)
    assert nonces.take("other", "n", 200, 100)


def test_a_full_quota_refuses_and_forgets_nothing(make):
    nonces = make(3)
    assert [nonces.take("k", str(n), 200, 100) for n in range(4)] == [True, True, True, False]
    assert not nonces.take("k", "0", 200, 100), "a live nonce is never evicted"
    assert nonces.take("another", "fresh", 200, 100)
    assert nonces.take("k", "3", 400, 201), "forgotten only after its end"


def test_of_many_threads_one_gets_the_nonce(make):
    nonces, won = make(99), []
    threads = [threading.Thread(target=lambda: won.append(nonces.take("k", "same", 200, 100))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


def test_what_was_spent_is_spent_for_every_process_and_after_a_restart(opened):
    first = opened()
    assert first.take("k", "n", 200, 100)
    second = opened()
    assert not second.take("k", "n", 200, 100) and second.take("k", "m", 200, 100)
    first.close()
    assert not opened().take("k", "m", 200, 100)
    assert second._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert second._db.execute("PRAGMA journal_mode").fetchone()[0].upper() == engine.journal_mode()


def test_a_new_file_says_since_when_it_knows_and_goes_on_saying_so(opened):
    assert opened(since=1795490000).since == 1795490000
    assert opened(since=1999999999).since == 1795490000 == opened().since


def test_the_file_is_for_its_owner_only(opened, tmp_path):
    opened()
    assert stat.S_IMODE((tmp_path / "store" / "nonces.db").stat().st_mode) == 0o600


def test_what_is_no_such_file_is_refused_in_words(opened, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "nonces.db").write_bytes(b"not a database, but long enough to be taken for one" * 99)
    with pytest.raises(HubError, match="no file of spent nonces"):
        opened()
