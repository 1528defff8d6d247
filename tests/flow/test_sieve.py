"""A first look at a whole read by other processes: whatever a city writes, it makes no difference but the time."""

import random

import pytest
from city_parts import FILES, Town, row

from hub import intake


def tables(draw: random.Random):
    """A city's file from pull to pull: rows edited, dropped, doubled, unreadable, and back again."""
    fees = {n: draw.randrange(1, 6) for n in range(30)}
    for _ in range(6):
        for _ in range(draw.randrange(6)):
            n = draw.randrange(40)
            do = draw.choice(("edit", "drop", "keep"))
            if do == "edit":
                fees[n] = draw.randrange(1, 6)
            elif do == "drop":
                fees.pop(n, None)
        rows = [row(n, fee) for n, fee in fees.items()]
        for n in draw.sample(sorted(fees), 3):
            rows.append(row(n, fees[n] + draw.choice((0, 0, 1))))  # the same again, or with another fee
        for n in draw.sample(sorted(fees), 2):
            rows.append(row(n, draw.choice(("many", "-1"))))
        if draw.random() < 0.5:
            rows.append(row("", 3))
        draw.shuffle(rows)
        yield rows


def history(folder, draw, monkeypatch, least, duplicates):
    """What every pull of a history did and left, with a first look from `least` standing records on."""
    monkeypatch.setattr(intake, "SIFT_FROM", least)
    monkeypatch.setattr(intake, "BATCH_RECORDS", 7)
    told = []
    with Town(folder, web=False) as town:
        town.declare(FILES, more=f"    duplicates: {duplicates}\n    expect: {{max_loss: '0.4'}}\n")
        for rows in tables(draw):
            town.drop(*rows)
            outcome = town.pull(full=True)
            pull = outcome.pull
            told.append((
                (pull.state, pull.read, pull.stored, pull.unchanged, pull.retracted, pull.quarantined),
                town.view(), town.revs(), sorted(each.id for each in outcome.changed.first),
                sorted((each.mark, each.reason) for each in town.store.quarantine()), outcome.shortfalls,
            ))  # fmt: skip
        town.sound()
    return told


@pytest.mark.parametrize("duplicates", ["refuse", "first"])
@pytest.mark.parametrize("seed", range(4))
def test_a_first_look_changes_nothing_but_the_time(tmp_path, monkeypatch, seed, duplicates):
    looked = history(tmp_path / "a", random.Random(seed), monkeypatch, 1, duplicates)
    plain = history(tmp_path / "b", random.Random(seed), monkeypatch, 10**9, duplicates)
    # Ids and marks are made with keys of the same folder, copied: they are the same in both.
    assert looked == plain


def test_what_is_unchanged_never_reaches_the_ordinary_path(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "SIFT_FROM", 1)
    with Town(tmp_path, web=False) as town:
        town.drop(*map(row, range(50)))
        town.pull()
        taken = []
        monkeypatch.setattr(intake._Run, "_take", lambda run, each, scan: taken.append(each.data["编号"]))
        town.drop(*[row(n, 11 if n == 7 else 10) for n in range(50)])
        town.pull(full=True)
        assert taken == ["7"]


def test_when_much_changed_everything_takes_the_ordinary_path(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "SIFT_FROM", 1)
    monkeypatch.setattr(intake, "BATCH_RECORDS", 5)
    monkeypatch.setattr(intake._Sieve, "MOST_PASSED", 8)
    with Town(tmp_path, web=False) as town:
        town.drop(*map(row, range(40)))
        town.pull()
        town.drop(*[row(n, 11 if n < 20 else 10) for n in range(40)], row(3, 10))
        outcome = town.pull(full=True)
        assert (outcome.pull.stored, outcome.pull.unchanged, outcome.pull.quarantined) == (20, 20, 1)
        assert town.fees()["3"] == "11"


def test_without_workers_a_whole_read_is_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "SIFT_FROM", 1)
    with Town(tmp_path, web=False) as town:
        town.intake.sifts = False
        town.drop(*map(row, range(9)))
        town.pull()
        town.drop(*map(row, range(8)))
        outcome = town.pull(full=True)
        assert (outcome.pull.unchanged, outcome.pull.retracted) == (8, 1)


def test_a_worker_that_dies_leaves_its_rows_to_the_ordinary_path(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "SIFT_FROM", 1)
    with Town(tmp_path, web=False) as town:
        town.drop(*map(row, range(30)))
        town.pull()
        monkeypatch.setattr(town.hub.workshop, "_ask", lambda question: None)
        town.drop(*[row(n, 11 if n == 7 else 10) for n in range(30)])
        outcome = town.pull(full=True)
        assert (outcome.pull.stored, outcome.pull.unchanged) == (1, 29)
