"""What every store must keep; a new store joins by inheriting this class and giving `open(path)`."""

import threading
from dataclasses import replace

import pytest

from hub.batch import Chain
from hub.errors import Fenced, HubError
from hub.merkle import leaf_hash
from hub.note import parse_vkey
from hub.reconcile.worklist import Difference, Event, Point, Ref
from hub.record import Leaf, Withheld, line_of
from hub.store.base import (
    Account,
    Acked,
    Attached,
    Entry,
    Erased,
    Known,
    Listed,
    Noted,
    Pause,
    Pull,
    Quarantined,
    Session,
    Version,
)

VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def leaf(n, **more):
    raw = b'{"n":%d}' % n
    disclosures = more.get("disclosures", {"party": f"secret-{n}"})
    return Leaf(
        raw,
        tuple(disclosures),
        line_of(disclosures.values()),
        "330483",
        "case/1",
        f"id{n:020}",
        1,
        "put",
        bytes([n]) * 16,
    )


def entry(number, **more):
    made = Entry(number, f"hash-{number}", "330483", number + 1, b"note-%d" % number, 2, None, b"cp-%d" % number)
    return replace(made, **more)


def listed(number, id, day="2026-01-01", *, origin="330483", kind="case/1", item="", standing=True, marks=()):
    return Listed(number, origin, kind, id, "{}", day, item, standing, marks)


class StoreContract:
    """Give `open(folder)`: a store over that folder, the same content each time it is opened."""

    def open(self, folder):
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path):
        store = self.open(tmp_path)
        yield store
        store.close()

    def again(self, store, tmp_path):
        store.close()
        return self.open(tmp_path)

    def test_what_was_committed_is_there_after_opening_again(self, store, tmp_path):
        with store.transaction():
            store.append_entry(entry(0))
            store.put("name", "value")
            first = store.append_leaves([leaf(1), leaf(2)], [leaf_hash(leaf(1).raw), leaf_hash(leaf(2).raw)])
        store = self.again(store, tmp_path)
        assert store.size() == 1 and store.entry(0) == entry(0) and store.get("name") == "value"
        held = list(store.leaves(first, 2))
        assert [each.raw for each in held] == [leaf(1).raw, leaf(2).raw]
        assert held[0].disclosures == {"party": "secret-1"}
        store.close()

    def test_an_error_undoes_the_whole_transaction(self, store):
        with pytest.raises(ValueError), store.transaction():
            store.append_entry(entry(0))
            store.put_tiles({(0, 0): b"x" * 32})
            raise ValueError
        assert store.size() == 0 and store.tile(0, 0) == b""

    def test_a_write_outside_a_transaction_is_refused(self, store):
        for write in (
            lambda: store.put("a", "b"),
            lambda: store.append_entry(entry(0)),
            lambda: store.append_leaves([leaf(1)], [b"x" * 32]),
            lambda: store.put_chain(Chain("330483")),
            lambda: store.claim_night("jiahu", "2026-11-24", "t", 1, 2),
        ):
            with pytest.raises(HubError):
                write()

    def test_entries_are_found_by_index_origin_and_text(self, store):
        with store.transaction():
            for n in range(5):
                store.append_entry(entry(n, count=0 if n == 0 else 2, first=None if n == 0 else 2 * n - 1))
        assert [each.index for each in store.entries(1, 3)] == [1, 2, 3]
        assert store.entry_at("330483", 3).index == 2 and store.entry_at("330483", 9) is None
        assert store.find("hash-4").index == 4 and store.find("none") is None
        assert [each.index for each in store.key_entries("330483")] == [0]
        assert [store.entry_of(n).index for n in (1, 2, 3, 8)] == [1, 1, 2, 4] and store.entry_of(9) is None

    @pytest.mark.parametrize("again", [{"text_hash": "hash-0"}, {"seq": 1}, {"index": 0}])
    def test_an_entry_stands_once(self, store, again):
        with store.transaction():
            store.append_entry(entry(0))
        with pytest.raises(Exception), store.transaction():  # noqa: B017 - each engine has its own integrity error
            store.append_entry(entry(1, **again))
        assert store.size() == 1

    def test_withheld_leaves_can_be_filled_and_taken_back(self, store):
        hash = leaf_hash(leaf(1).raw)
        with store.transaction():
            number = store.append_leaves([Withheld(hash)], [hash])
        assert next(store.leaves(number, 1)) == (number, None, hash, {})
        with store.transaction():
            store.fill_leaf(number, leaf(1, disclosures={"party": "a", "facts": "b"}), hash)
        assert next(store.leaves(number, 1)).disclosures == {"party": "a", "facts": "b"}
        with store.transaction():
            store.forget_disclosures(number, hash, ["party"])
        assert next(store.leaves(number, 1)).disclosures == {"facts": "b"}
        with store.transaction():
            store.withhold_leaf(number, hash)
        assert next(store.leaves(number, 1)) == (number, None, hash, {})

    def test_disclosures_and_quarantined_rows_rest_encrypted(self, store, tmp_path):
        with store.transaction():
            store.append_leaves([leaf(1, disclosures={"party": "CANARY-DISCLOSED"})], [leaf_hash(leaf(1).raw)])
            store.put_quarantine(
                [Quarantined("330483", "cases", "m", "a.csv:2", "f", "r", "t1", "t1", row=b"CANARY-ROW")]
            )
        assert store.quarantine("330483")[0].row == b"CANARY-ROW"
        store.close()
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert kept and b"CANARY" not in kept

    def test_what_was_withheld_and_scrubbed_is_in_no_file(self, store, tmp_path):
        full = leaf(1)._replace(raw=b'{"canary":"CANARY-RAW"}')
        hash = leaf_hash(full.raw)
        with store.transaction():
            number = store.append_leaves([full, leaf(2)], [hash, leaf_hash(leaf(2).raw)])
        with store.transaction():
            store.withhold_leaf(number, hash)
        store.scrub()
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert kept and b"CANARY" not in kept

    def test_chains_come_back_as_they_were(self, store):
        chain = Chain("330483", 3, "p", "self", (parse_vkey(VKEY),), "k", "n")
        assert store.chain("330483") == Chain("330483")
        with store.transaction():
            store.put_chain(chain)
        assert store.chain("330483") == chain and store.chains() == [chain]

    def test_the_current_view(self, store):
        rows = [(f"id{n}", Known(1, "put", bytes([n]) * 16, n)) for n in range(3)]
        with store.transaction():
            store.set_current("330483", "case/1", rows, 3, 0)
            store.set_current("330503", "case/1", [("id0", Known(7, "put", None, 9))], 1, 0)
        with store.transaction():
            store.set_current("330483", "case/1", [("id1", Known(2, "retract", None, 5))], -1, 1)
        assert store.known("330483", "case/1", ["id1", "id2", "no"]) == {
            "id1": Known(2, "retract", None, 5),
            "id2": rows[2][1],
        }
        assert store.known("330483", "other/1", ["id1"]) == {}
        assert [id for id, _ in store.walk("330483", "case/1")] == ["id0", "id1", "id2"]
        assert [tuple(row) for row in store.series()] == [("330483", "case/1", 2, 1), ("330503", "case/1", 1, 0)]
        with store.transaction():
            store.drop_current("330483", "case/1")
        assert list(store.walk("330483", "case/1")) == [] and store.series()[0].standing == 0

    def test_an_origins_content_digests_are_forgotten(self, store):
        one, other = Known(1, "put", b"d" * 16, 1), Known(1, "put", b"e" * 16, 2)
        with store.transaction():
            for kind in ("case/1", "inspection/1"):
                store.set_current("330483", kind, [("id", one)], 1, 0)
            store.set_current("330503", "case/1", [("id", other)], 1, 0)
            store.forget_digests("330483")
        for kind in ("case/1", "inspection/1"):
            assert store.known("330483", kind, ["id"]) == {"id": one._replace(digest=None)}
        assert store.known("330503", "case/1", ["id"]) == {"id": other}

    def test_views_digest_alike_when_derived_in_another_order(self, store):
        def fill(order):
            store.clear_views()
            for origin in order:
                store.set_current(origin, "case/1", [("id", Known(1, "put", b"d", 1))], 1, 0)
            store.put_tiles({(0, 0): b"t"})

        with store.transaction():
            fill(["a1", "b1"])
        one = store.view_digests()
        with store.transaction():
            fill(["b1", "a1"])
        assert store.view_digests() == one
        with store.transaction():
            store.put_tiles({(0, 0): b"u"})
        changed = store.view_digests()
        assert {view for view in one if one[view] != changed[view]} == {"tile"}

    def test_a_scan_tells_repeats_and_what_was_not_met(self, store):
        with store.transaction():
            store.set_current("330483", "case/1", [(f"id{n}", Known(1, "put", b"", n)) for n in range(6)], 6, 0)
            store.set_current("330483", "case/1", [("id5", Known(2, "retract", None, 9))], -1, 1)
        with store.scan() as scan:
            assert scan.add("330483", "case/1", ["id0", "id1"]) == set()
            assert scan.add("330483", "case/1", ["id1", "new"]) == {"id1"}
            assert scan.add("330503", "case/1", ["id1"]) == set()
            first = scan.missing("330483", "case/1", 2, "")
            assert [id for id, _ in first] == ["id2", "id3"]
            assert [id for id, _ in scan.missing("330483", "case/1", 2, "id3")] == ["id4"]
            assert scan.missing("330483", "none/1", 2, "") == []
        with store.scan() as scan:
            assert scan.add("330483", "case/1", ["id0"]) == set()

    def test_quarantine_keeps_when_it_was_first_seen(self, store):
        row = Quarantined("330483", "cases", "m1", "a.csv:2", "f", "r", "2026-01-01", "2026-01-01", row=b"x")
        with store.transaction():
            store.put_quarantine([row, replace(row, mark="m2")])
            store.put_quarantine([replace(row, first_seen="2026-01-02", last_seen="2026-01-02")])
        assert [(each.mark, each.first_seen, each.last_seen) for each in store.quarantine()] == [
            ("m1", "2026-01-01", "2026-01-02"), ("m2", "2026-01-01", "2026-01-01"),
        ]  # fmt: skip
        with store.transaction():
            assert store.keep_quarantine("330483", "cases", "2026-01-02") == 1
        assert [each.mark for each in store.quarantine("330483")] == ["m1"] and store.quarantine("330503") == []
        assert (store.quarantined(), store.quarantined("330483"), store.quarantined("330503")) == (1, 1, 0)

    def test_cosignatures_are_kept_by_size_and_witness(self, store):
        with store.transaction():
            for size, witness, line in ((3, "a", "x"), (7, "b", "y"), (7, "a", "z"), (7, "a", "w")):
                store.put_cosignature(size, witness, line)
        assert store.cosignatures() == [(7, "a", "w"), (7, "b", "y"), (3, "a", "x")]
        with store.transaction():
            store.drop_cosignatures(7)
        assert store.cosignatures() == [(7, "a", "w"), (7, "b", "y")]

    def test_records_are_found_by_shelf_day_item_and_mark(self, store):
        assert store.last_leaf() == 0 and store.shelves() == [] and store.listed([], 9) == (0, [])
        with store.transaction():
            store.append_leaves([leaf(n) for n in range(1, 8)], [leaf_hash(leaf(n).raw) for n in range(1, 8)])
            store.put_listed(
                [
                    listed(1, "a", "2026-01-01", marks=((-5, "party"), (7, "open"))),
                    listed(2, "b", "2026-01-03", item="x", marks=((-5, "facts"),)),
                    listed(3, "c", "2026-01-02", item="x", kind="letter/1"),
                    listed(4, "a", "2026-01-01", origin="330503", marks=((-5, "party"), (2**63 - 1, "open"))),
                    listed(5, "d", "2026-01-09", standing=False),
                ]
            )
        assert store.last_leaf() == 7
        case, letter, other = store.shelves()
        assert [each[1:] for each in (case, letter, other)] == [
            ("330483", "case/1", "{}"), ("330483", "letter/1", "{}"), ("330503", "case/1", "{}"),
        ]  # fmt: skip
        every = [case.number, letter.number, other.number]

        def found(shelves, **how):
            total, rows = store.listed(shelves, 9, **how)
            assert total == len(rows)
            return [number for number, _ in rows]

        assert found(every) == [2, 3, 4, 1] and found([case.number]) == [2, 1] and found([]) == []
        assert store.listed(every, 2, 1) == (4, [(3, letter.number), (4, other.number)])
        assert found(every, since="2026-01-02") == [2, 3] and found(every, until="2026-01-02") == [3, 4, 1]
        assert found(every, item="x") == [2, 3] and found(every, item="y") == []
        # A mark counts on the shelves it is given with, and none of another is found by it.
        assert found(every, marks={-5: every}) == [2, 4, 1] and found(every, marks={-5: [other.number]}) == [4]
        assert found([case.number], marks={-5: every}) == [2, 1] and found(every, marks={6: every}) == []
        assert found(every, marks={-5: [case.number], 2**63 - 1: every}) == [2, 4, 1]
        assert found(every, marks={7: every, -5: [case.number]}, until="2026-01-01") == [1]
        assert found(every, marks={}) == []

    def test_a_record_is_found_by_the_revision_that_stands(self, store):
        with store.transaction():
            store.put_listed([listed(1, "a", "2026-01-01", marks=((1, "party"),)), listed(2, "b", "2026-01-01")])
            store.put_listed(
                [
                    listed(3, "a", "2026-02-01", marks=((2, "party"), (3, "open"))), listed(4, "b", standing=False),
                    listed(5, "c", marks=((1, "party"),)), listed(6, "c", standing=False),
                    listed(7, "b", origin="330503", marks=((1, "party"),)),
                ]
            )  # fmt: skip
        shelf, other = [each.number for each in store.shelves()]
        assert store.listed([shelf], 9) == (1, [(3, shelf)])
        assert store.listed([shelf, other], 9, marks={1: [shelf, other]}) == (1, [(7, other)])
        assert store.revisions("330483", "case/1", "a") == [1, 3] and store.revisions("330503", "case/1", "b") == [7]
        assert store.revisions("330503", "case/1", "a") == []
        with store.transaction():
            store.drop_marks("330483", "case/1", "a", ["party"])
        assert store.listed([shelf], 9, marks={2: [shelf]}) == (0, [])
        assert store.listed([shelf], 9, marks={3: [shelf]}) == (1, [(3, shelf)]) == store.listed([shelf], 9)
        with store.transaction():
            store.drop_record("330483", "case/1", "a")
        assert store.listed([shelf], 9, marks={3: [shelf]}) == (0, []) == store.listed([shelf], 9)
        assert store.revisions("330483", "case/1", "a") == []
        with store.transaction():
            store.clear_listed()
        assert store.shelves() == [] and store.revisions("330483", "case/1", "b") == []

    def test_what_was_erased_is_remembered_and_its_traces_go(self, store):
        with store.transaction():
            store.put_erased(Erased("330483", "case/1", "a", ("facts",)))
            store.put_erased(Erased("330483", "case/1", "a", ("facts", "party")))
            store.put_versions("330483", "cases", [("a", Version(1, bytes(16))), ("b", Version(1, bytes(16)))])
            store.set_current("330483", "case/1", [("a", Known(1, "put", bytes(16), 1)), ("b", Known(1, "put", None, 2))], 2, 0)
        assert store.erased("330483", "case/1", ["a", "b"]) == {"a": frozenset({"facts", "party"})}
        assert store.erased("330421", "case/1", ["a"]) == {}
        with store.transaction():
            store.drop_derived("330483", "a")
            store.drop_record("330483", "case/1", "a")
            store.drop_record("330483", "case/1", "never")
        assert store.versions("330483", "cases", ["a", "b"]).keys() == {"b"}
        assert store.known("330483", "case/1", ["a", "b"]).keys() == {"b"}
        assert [(row.standing, row.retracted) for row in store.series()] == [(1, 0)]
        assert store.scrub()

    def test_attachments_rest_encrypted_and_go_by_group_or_all(self, store, tmp_path):
        key = ("330483", "case/1", "a")
        with store.transaction():
            assert store.put_attachment(Attached(*key, "00", "facts"), b"CANARY-ONE")
            assert not store.put_attachment(Attached(*key, "00", "facts"), b"CANARY-ONE")
            assert store.put_attachment(Attached(*key, "11", "party"), b"CANARY-TWO" * 9999)
            assert store.put_attachment(Attached("330483", "case/1", "b", "00", "facts"), b"")
        assert store.attachment(*key, "00") == b"CANARY-ONE" and store.attachment(*key, "11") == b"CANARY-TWO" * 9999
        assert store.attachment("330483", "case/1", "b", "00") == b""
        assert store.attachment("330421", "case/1", "a", "00") is None
        assert [each[2:] for each in store.attachments()] == [("a", "00", "facts"), ("a", "11", "party"), ("b", "00", "facts")]
        with store.transaction():
            store.drop_attachments(*key, {"facts"})
        assert store.attachment(*key, "00") is None and store.attachment(*key, "11") is not None
        with store.transaction():
            store.drop_attachments(*key, None)
        assert store.attachment(*key, "11") is None and store.attachment("330483", "case/1", "b", "00") == b""
        store.close()
        assert b"CANARY" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    def test_versions_are_kept_by_feed_and_record(self, store):
        one, two = Version(1, bytes(16)), Version(2, b"\xff" * 16)
        with store.transaction():
            store.put_versions("330483", "cases", [("a", one), ("b", one)])
            store.put_versions("330483", "cases", [("b", two)])
            store.put_versions("330483", "letters", [("a", two)])
        assert store.versions("330483", "cases", ["a", "b", "c"]) == {"a": one, "b": two}
        assert store.versions("330421", "cases", ["a"]) == {}

    def test_cursors_and_pulls(self, store):
        with store.transaction():
            store.put_cursor("330483", "cases", "c1")
            store.put_cursor("330483", "cases", "c2")
            good = Pull("330483", "cases", "2026-01-01T00:00:00+08:00", "me", full=True)
            good = replace(
                good, number=store.start_pull(good), state="succeeded", ended="2026-01-01T00:00:01+08:00", read=3
            )
            store.end_pull(good)
            bad = replace(good, started="2026-01-02T00:00:00+08:00", state="failed")
            bad = replace(bad, number=store.start_pull(bad))
        assert store.cursor("330483", "cases") == "c2" and store.cursor("330483", "x") is None
        assert store.last_pulls() == [good, bad]
        assert store.pull_days("330483", "2026-01-01") == [("2026-01-01", ("succeeded",)), ("2026-01-02", ("failed",))]

    def test_the_newest_runs_of_some_feeds_come_newest_first(self, store):
        with store.transaction():
            for n, (code, feed) in enumerate([("330483", "cases"), ("330483", "letters"), ("330503", "cases")] * 3):
                store.start_pull(Pull(code, feed, f"2026-01-0{n + 1}T00:00:00+08:00", "me"))
        feeds = [("330483", "cases"), ("330503", "cases")]
        assert [(run.code, run.feed, run.started[9]) for run in store.runs(feeds, 3)] == [
            ("330503", "cases", "9"), ("330483", "cases", "7"), ("330503", "cases", "6"),
        ]  # fmt: skip
        assert len(store.runs(feeds, 99)) == 6 and store.runs([("330483", "none")], 9) == store.runs([], 9) == []

    def test_a_pause_stands_until_it_is_dropped_and_a_new_one_takes_its_place(self, store):
        one = Pause("330483", "maintenance", "li", "2026-01-01T00:00:00+08:00")
        with store.transaction():
            store.put_pause(one)
            store.put_pause(other := one._replace(code="330400", until="2026-02-01"))
        assert store.pauses() == [other, one]
        with store.transaction():
            store.put_pause(again := one._replace(reason="other", who="wang"))
            store.drop_pause("330400")
            store.drop_pause("never")
        assert store.pauses() == [again]

    def test_a_night_has_one_holder_and_is_committed_once(self, store):
        with store.transaction():
            assert store.claim_night("jiahu", "2026-11-24", "one", 100, 200)
            assert not store.claim_night("jiahu", "2026-11-24", "two", 150, 250)
            assert store.claim_night("jiahu", "2026-11-24", "one", 150, 260), "its holder may hold on"
            assert store.claim_night("jiahu", "2026-11-24", "two", 260, 360), "an expired claim is free"
        with pytest.raises(Fenced), store.transaction():
            store.commit_night("jiahu", "2026-11-24", "one", {})
        with store.transaction():
            store.commit_night("jiahu", "2026-11-24", "two", {"compared": 3})
            assert not store.claim_night("jiahu", "2026-11-24", "three", 999, 1999)
        with pytest.raises(Fenced), store.transaction():
            store.commit_night("jiahu", "2026-11-24", "two", {})
        assert store.night("jiahu", "2026-11-24").result == {"compared": 3}
        assert store.night("jiahu", "2026-11-25") is None

    def test_differences_are_kept_whole_with_each_step_of_their_lives(self, store):
        one = Difference(
            "d1", "jiahu", "double_penalty", (Ref("330483", "case/1", "a", 2), Ref("330503", "case/1", "b", 1)), "high",
            "2026-11-23", "2026-11-23", points=(Point("party_id", "equal", 3.0, 0.75), Point("days", "late", number="4")),
            due="2026-11-30", decision="keep_both", reason="checked", basis=(Ref("330483", "case/1", "a", 2),),
        )  # fmt: skip
        two = replace(one, identity="d2", agreement="zhewan", first_night="2026-11-22")
        opened = Event("d1", "2026-11-23T02:00:00+08:00", "night", "opened", "2026-11-23")
        with store.transaction():
            store.put_differences([one, two], [opened, opened._replace(identity="d2")])
        assert store.differences() == [two, one] and store.differences("jiahu") == [one]
        closed, step = replace(one, state="closed", assigned="li"), opened._replace(step="closed", who="li", reason="r")
        with store.transaction():
            store.put_differences([closed], [step])
        assert store.differences() == [two] and store.differences(closed=True) == [two, closed]
        assert store.difference("d1") == closed and store.difference("d3") is None
        assert store.difference_events("d1") == [opened, step] and len(store.difference_events("d2")) == 1
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.put_differences([two], [step._replace(identity="d2")])
            raise ZeroDivisionError
        assert len(store.difference_events("d2")) == 1

    def test_a_claimed_night_tells_how_far_it_is_to_its_holder_s_word_alone(self, store):
        with store.transaction():
            store.claim_night("jiahu", "2026-11-24", "one", 100, 200)
            store.put_progress("jiahu", "2026-11-24", "two", {"progress": 9})
            store.put_progress("jiahu", "2026-11-24", "one", {"progress": 1})
        assert store.night("jiahu", "2026-11-24").result == {"progress": 1}
        with store.transaction():
            store.commit_night("jiahu", "2026-11-24", "one", {"compared": 3})
            store.put_progress("jiahu", "2026-11-24", "one", {"progress": 2})
        assert store.night("jiahu", "2026-11-24").result == {"compared": 3}

    def test_writers_wait_for_each_other(self, store):
        def write(n):
            for _m in range(10):
                with store.transaction():
                    store.put("count", str(int(store.get("count") or 0) + 1))

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.get("count") == "40"

    def test_notices_and_acknowledgements(self, store):
        with store.transaction():
            store.add_notices([("330503", "reissue", {"origin": "330483"}), ("330521", "ended", {})])
            store.add_notices([("330503", "erase", {"kind": "case/1"})])
            store.put_acked(Acked("330503", 3, 0, "t"))
            store.put_acked(Acked("330503", 5, 1, "u"))
        rows = store.notices("330503", 0, 10)
        assert [(row.type, row.body) for row in rows] == [
            ("reissue", {"origin": "330483"}),
            ("erase", {"kind": "case/1"}),
        ]
        assert store.notices("330503", rows[0].number, 10) == rows[1:]
        assert store.acked() == [Acked("330503", 5, 1, "u")]
        with store.transaction():
            store.put_acked(Acked("330503", 2, 0, "v", 2, "root"))
        # The furthest that was acknowledged stays; what the copy is said to be is what was said last.
        assert store.acked() == [Acked("330503", 5, 1, "v", 2, "root")]

    def test_an_entry_and_its_leaves_are_put_back(self, store):
        leaves = [leaf(n) for n in range(40)]
        with store.transaction():
            first = store.append_leaves(leaves[:20], [leaf_hash(each.raw) for each in leaves[:20]])
            second = store.append_leaves(leaves[20:], [leaf_hash(each.raw) for each in leaves[20:]])
            store.append_entry(Entry(0, "h", "330483", 1, b"note", 20, first, b"checkpoint"))
        with store.transaction():
            store.drop_leaves(first, 20)
            again = store.append_leaves(leaves[:20], [leaf_hash(each.raw) for each in leaves[:20]])
            mended = Entry(0, "g", "330483", 1, b"other", 20, again, b"checkpoint")
            store.replace_entry(mended)
        assert list(store.leaves(first, 20)) == [] and store.entries(0, 9) == [mended]
        assert [held.raw for held in store.leaves(second, 20)] == [each.raw for each in leaves[20:]]
        assert [held.raw for held in store.leaves(again, 20)] == [each.raw for each in leaves[:20]]

    def test_an_account_is_kept_whole_and_replaced_by_name(self, store, tmp_path):
        made = Account("li.na", "李娜", "viewer", ("a", "b"), ("330483",), "hash", False, 3, 99, "t")
        with store.transaction():
            store.put_account(made)
            store.put_account(Account("an", "", "administrator"))
        store = self.again(store, tmp_path)
        assert store.account("li.na") == made and store.account("nobody") is None
        with store.transaction():
            store.put_account(replace(made, blocked=True, agreements=()))
        assert [each.name for each in store.accounts()] == ["an", "li.na"]
        assert store.account("li.na") == replace(made, blocked=True, agreements=())
        store.close()

    def test_sessions_end_one_by_one_by_account_by_age_or_all(self, store):
        def put(*marks):
            with store.transaction():
                for n, mark in enumerate(marks):
                    store.put_session(Session(mark, "a" if n % 2 else "b", f"2026-01-0{n + 1}", "s"))

        def left():
            return [mark for mark in "wxyz" if store.session(mark)]

        for how, kept in (({"mark": "x"}, "wyz"), ({"account": "a"}, "wy"), ({"before": "2026-01-03"}, "yz"), ({}, "")):
            put(*"wxyz")
            with store.transaction():
                store.drop_sessions(**how)
            assert left() == list(kept), how
        put("w")
        with store.transaction():
            store.put_session(replace(store.session("w"), seen="later"))
        assert store.session("w") == Session("w", "b", "2026-01-01", "later")

    def test_the_journal_is_read_newest_first_in_parts(self, store):
        with store.transaction():
            for n in range(5):
                store.note(Noted(f"t{n}", "ab"[n % 2], "look", f"record {n % 3}", "facts"))
        whole = store.notes(9)
        assert [each.at for each in whole] == ["t4", "t3", "t2", "t1", "t0"] and whole[0].detail == "facts"
        assert store.notes(2) == whole[:2] and store.notes(9, whole[1].number) == whole[2:]
        assert [each.at for each in store.notes(9, who="a")] == ["t4", "t2", "t0"]
        assert [each.at for each in store.notes(9, who="a", about="record 1")] == ["t4"]
        assert store.notes(9, what="other") == []

    def test_nights_between_two_dates(self, store):
        with store.transaction():
            for day in ("2026-10-31", "2026-11-01", "2026-11-30", "2026-12-01"):
                store.claim_night("a", day, "t", 0, 9)
            store.claim_night("b", "2026-11-05", "t", 0, 9)
        assert [each.night for each in store.nights_between("a", "2026-11-01", "2026-11-30")] == ["2026-11-30", "2026-11-01"]

    def test_its_own_check_is_quiet_on_a_sound_store(self, store):
        assert store.check() == []
