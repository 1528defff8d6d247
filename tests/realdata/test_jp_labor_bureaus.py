"""27 monthly lists of 47 labour bureaux through one declared adapter and one kind, no Python of their own.

What must come of them is worked out here by csv alone, never by the mapping.
"""

import re
import shutil
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from intake_parts import START, SmallHub
from jp_parts import FILES, MONTHS, ORIGINS, UPDATED, Table, difference, same

from adapters.declaration import load
from adapters.declared import read_yaml
from hub.intake import Outcome
from hub.kinds import Kind, parse_kind
from hub.record import content_digest

HERE = Path(__file__).parent
ADDED, RETRACTED, EDITED, EDITED_WITH_UPDATES = 1_582, 1_515, 638, 8_576

Rows = list[tuple[str, dict[str, Any]]]


# --- what csv alone says ---


def iso(era: str) -> str:
    """H28.10.4, 平成29年５月15日 or 令和元年7月31日 as an ISO date."""
    plain = unicodedata.normalize("NFKC", era).replace("元", "1")
    year, month, day = (int(number) for number in re.findall("[0-9]+", plain))
    return f"{year + (2018 if plain[0] in 'R令' else 1988)}-{month:02}-{day:02}"


def body(row: dict[str, str], updated: str) -> dict[str, Any]:
    cells = [cell.strip() for cell in row["違反法条"].split(",")]
    return {
        "employer": row["企業・事業場名称"],
        "place": row["所在地"],
        "published_on": iso(row["公表日"]),
        "provisions": row["違反法条"],
        "articles": [cell for cell in cells if cell],
        "summary": row["事案概要"],
        "note": row["その他参考事項"],
        "updated_on": iso(updated),
    }


def expected() -> Iterator[Rows]:
    """The view after each month: its rows, each dated by the list that brought it as it now stands."""
    updated: dict[tuple[str, ...], str] = {}
    before: Table = {}
    for month in MONTHS:
        kept = {key for key, row in month.items() if key in before and same(row, before[key], UPDATED)}
        updated = {key: updated[key] if key in kept else row[UPDATED] for key, row in month.items()}
        yield [(ORIGINS[key[0]], body(row, updated[key])) for key, row in month.items()]
        before = month


def totals(*spared: str) -> tuple[int, ...]:
    """The same over all months after the first."""
    found = [difference(before, month, *spared) for before, month in pairwise(MONTHS)]
    return tuple(map(sum, zip(*found, strict=True)))


# --- what the hub made of it ---


class Fed(NamedTuple):
    """The hub after all months, and what each month did and left."""

    hub: SmallHub
    folder: Path
    outcomes: list[Outcome]
    views: list[Rows]


DECLARATION = load(HERE / "jp_labor_bureaus.yaml")
KIND = parse_kind(read_yaml(HERE / "jp_publication.yaml"))


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    """Every month's file dropped beside the earlier ones and pulled, in order."""
    base = tmp_path_factory.mktemp("jp")
    (feed,), drops = DECLARATION.feeds, base / "drops"
    drops.mkdir()
    hub = SmallHub(base / "hub", KIND, feed.origins)
    outcomes, views = [], []
    for path in FILES:
        shutil.copy(path, drops)
        outcomes.append(hub.pull(DECLARATION, drops))
        views.append(hub.view())
    yield Fed(hub, drops, outcomes, views)
    hub.store.close()


def ordered(rows: Rows) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Rows in an order of their own, whatever the order of rows and fields they came in."""
    return sorted((origin, sorted(each.items())) for origin, each in rows)


def test_the_data_are_the_27_months_of_47_bureaux() -> None:
    assert len(FILES) == 27 and sum(map(len, MONTHS)) == 11_658
    assert {key[0] for month in MONTHS for key in month} == ORIGINS.keys()
    assert DECLARATION.feeds[0].origins == tuple(sorted(ORIGINS.values()))


def test_after_every_month_the_view_is_that_months_file_row_for_row(fed: Fed) -> None:
    for path, rows, view in zip(FILES, expected(), fed.views, strict=True):
        assert ordered(view) == ordered(rows), path.name


def test_every_row_was_read_and_none_set_aside(fed: Fed) -> None:
    for month, outcome in zip(MONTHS, fed.outcomes, strict=True):
        pull = outcome.pull
        assert (pull.state, pull.problem, pull.read, pull.quarantined) == ("succeeded", "", len(month), 0)
        assert pull.stored + pull.unchanged == pull.read


def test_each_month_adds_withdraws_and_edits_what_the_files_say(fed: Fed) -> None:
    done = [(each.added.count, each.retracted.count, each.changed.count) for each in fed.outcomes]
    assert done == [difference(before, month, UPDATED) for before, month in pairwise([{}, *MONTHS])]
    assert done[0] == (347, 0, 0)
    assert tuple(map(sum, zip(*done[1:], strict=True))) == (ADDED, RETRACTED, EDITED) == totals(UPDATED)


def test_the_volatile_column_alone_would_make_eight_thousand_edits(tmp_path: Path) -> None:
    assert totals() == (ADDED, RETRACTED, EDITED_WITH_UPDATES)
    # As ISO dates 24 fewer: 平成29年５月31日 and 平成29年5月31日 are one day.
    days = [{key: row | {UPDATED: iso(row[UPDATED])} for key, row in month.items()} for month in MONTHS]
    edited = sum(difference(before, month)[2] for before, month in pairwise(days))
    assert edited == EDITED_WITH_UPDATES - 24
    path = tmp_path / "publication.yaml"
    declared = (HERE / "jp_publication.yaml").read_text("utf-8")
    assert declared.count("volatile: true, ") == 1
    path.write_text(declared.replace("volatile: true, ", ""), "utf-8")
    counted = edits_seen([KIND, parse_kind(read_yaml(path))], tmp_path)
    assert counted == [EDITED, edited]


def edits_seen(kinds: list[Kind], folder: Path) -> list[int]:
    """Edits from month to month by what each kind digests of the mapped rows."""
    (feed,) = DECLARATION.feeds
    before: dict[tuple[str, str], list[bytes]] = {}
    counts = [0] * len(kinds)
    for path in FILES:
        shutil.copy(path, folder)
        mapper, source = feed.mapper(), feed.source({"directory": str(folder)}, str, now=lambda: START)
        mapped = [mapper(row) for page in source.pages(None) for row in page.rows]
        month = {
            (each.origin, each.key): [content_digest(bytes(32), kind, each.body) for kind in kinds] for each in mapped
        }
        for n in range(len(kinds)):
            counts[n] += sum(found[n] != before[key][n] for key, found in month.items() if key in before)
        before = month
    return counts


def test_a_row_withdrawn_that_comes_back_is_the_same_record_again(fed: Fed) -> None:
    appeared = sum(len(month.keys() - before.keys()) for before, month in pairwise([{}, *MONTHS]))
    distinct = len({key for month in MONTHS for key in month})
    assert appeared - distinct == 39
    series = fed.hub.store.series()
    assert sum(each.standing + each.retracted for each in series) == distinct
    assert sum(each.standing for each in series) == len(MONTHS[-1])


def test_seven_names_differ_from_month_to_month_by_a_blank_alone() -> None:
    """Which is why the adapter keeps names exactly: trimmed, these were neither withdrawn nor added."""
    trimmed: list[Table] = [
        {(bureau, name.strip(), day): row for (bureau, name, day), row in month.items()} for month in MONTHS
    ]
    found = [difference(before, month, UPDATED) for before, month in pairwise(trimmed)]
    assert [sum(each[n] for each in found) for n in (0, 1)] == [ADDED - 7, RETRACTED - 7]


def test_fsck_verify_and_rebuild_agree(fed: Fed) -> None:
    revisions = len(MONTHS[0]) + ADDED + RETRACTED + EDITED
    view, digests = fed.hub.view(), fed.hub.store.view_digests()
    checked, verified, changed = fed.hub.audited()
    assert (checked.problems, verified.problems, changed) == ([], [], [])
    assert checked.records == verified.records == revisions
    assert verified.origins.keys() == set(ORIGINS.values())
    assert fed.hub.view() == view and fed.hub.store.view_digests() == digests


def test_a_second_run_of_the_last_month_stores_nothing(fed: Fed) -> None:
    before = fed.hub.ledger.checkpoint()[0], fed.hub.view()
    pull = fed.hub.pull(DECLARATION, fed.folder).pull
    assert (pull.state, pull.read, pull.unchanged) == ("succeeded", len(MONTHS[-1]), len(MONTHS[-1]))
    assert (pull.stored, pull.retracted, pull.quarantined) == (0, 0, 0)
    assert (fed.hub.ledger.checkpoint()[0], fed.hub.view()) == before
