"""Every shipped declaration: free of findings, its codes known to its kind, its sample read as meant."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adapters import declaration
from adapters.declaration import TRANSPORTS, Declaration, Feed, lint
from adapters.sample import samples
from hub.kinds import Kind, load_kinds

ROOT = Path(__file__).parents[2]
ADAPTERS = ROOT / "adapters"
CITIES = sorted([*ADAPTERS.glob("jiaxing_huzhou/*.yaml"), *ADAPTERS.glob("changxing_anji_guangde/*.yaml")])
ALL = [*CITIES, ADAPTERS / "sample" / "huzhou_year.yaml"]
TEN = "330400 330500 330483 330503 330521 330483100 330503102 330522 330523 341882"


@cache
def load(path: Path) -> Declaration:
    return declaration.load(path)


@pytest.fixture(scope="module")
def kinds() -> dict[str, Kind]:
    return load_kinds(ROOT / "config" / "kinds")


def feeds(declared: Declaration) -> Iterator[tuple[str, Feed]]:
    return ((f"{declared.code} {feed.name}", feed) for feed in declared.feeds)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_shipped_declaration_has_no_findings(path: Path, kinds: dict[str, Kind]) -> None:
    assert lint(load(path), {name: kind.fields for name, kind in kinds.items()}) == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_code_that_a_table_can_give_is_known_to_the_kind(path: Path, kinds: dict[str, Kind]) -> None:
    for where, feed in feeds(load(path)):
        kind = kinds[feed.kind]
        for name, rule in feed.plan.rules.items():
            codes = kind.fields[name].codes
            if codes and rule.get("table"):
                given = set(feed.plan.tables[rule["table"]].values())
                assert given <= set(codes), f"{where} {name}"


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_row_of_a_sample_is_a_record_of_its_kind(path: Path, kinds: dict[str, Kind]) -> None:
    for where, feed in feeds(load(path)):
        mapper, rows = feed.mapper(), 0
        for page in feed.sample_source().pages(None):
            for row in page.rows:
                mapped = mapper(row)
                rows += 1
                if not mapped.retract:
                    kinds[feed.kind].accept(mapped.body)
        assert 5 <= rows <= 25, where


def in_order(bodies: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(repr(sorted(body.items())) for body in bodies)


def test_a_sample_says_what_its_city_means(tmp_path: Path) -> None:
    with samples.cities(tmp_path) as running:
        for path in CITIES:
            for where, feed in feeds(load(path)):
                mapper, bodies = feed.mapper(), {}
                for page in feed.sample_source().pages(None):
                    for row in page.rows:
                        mapped = mapper(row)
                        bodies[mapped.key] = mapped.body
                        if mapped.retract:
                            del bodies[mapped.key]
                truth = running.truth(feed.code, feed.name)
                assert in_order(bodies.values()) == in_order(truth), where


def test_ten_jurisdictions_use_all_transports_and_their_variants() -> None:
    declared = {load(path).code: load(path) for path in CITIES}
    assert set(declared) == set(TEN.split())
    found = [(feed.transport, feed.options) for each in declared.values() for feed in each.feeds]
    assert {transport for transport, _ in found} == set(TRANSPORTS)
    assert {o["auth"] for t, o in found if t == "http_json"} == {"irs_hmac", "data_sharing_token"}
    paginators = {o["paginator"]["type"] for t, o in found if t == "http_json"}
    assert paginators == {"page_number", "offset", "cursor"}
    assert {o["format"] for t, o in found if t == "table_file"} == {"csv", "tsv", "xlsx"}
    assert any("incremental" in o for t, o in found if t == "http_json")
    assert {f.completeness for d in declared.values() for f in d.feeds} == {"snapshot", "window", "delta"}
    assert {f.absent for d in declared.values() for f in d.feeds} == {"retract", "flag"}


DIRT = {
    "a prefix": "统一社会信用代码：91",
    "a suffix": "（1/1）",
    "the text undefined": "undefined",
    "a 15-digit number": r"(?<![0-9A-Z])[1-9][0-9]{14}(?![0-9A-Z])",
    "a deleted row in JSON": '"opt_type": "D"',
    "a deleted row in a front table": "00001,d,",
    "no end": "2099-12-31|2099/12/31",
    "full-width digits": "[０-９]{6}",
    "square brackets": r"\[20[0-9]{2}\]",
    "black brackets": "【20[0-9]{2}】",
    "a blank in a number": "罚字? 〔|罚决字 〔",
    "a serial of team and number": "第[0-9]-[0-9]{3}号",
    "nothing as a dash": "— —",
    "nothing as a word": ",无,",
    "nothing as a stroke": ",/,",
    "万元": '"fine": "0\\.[0-9]+"',
}


@pytest.fixture(scope="module")
def raw() -> str:
    texts = []
    for path in CITIES:
        for feed in load(path).feeds:
            assert feed.sample is not None
            if feed.sample.suffix != ".xlsx":
                data = feed.sample.read_bytes()
                dropped = feed.transport == "table_file" and feed.sample.suffix == ".csv"
                texts.append(data.decode("gb18030" if dropped else "utf-8-sig"))
    return "\n".join(texts)


@pytest.mark.parametrize("what", DIRT)
def test_the_dirt_of_real_tables_occurs_in_the_samples(what: str, raw: str) -> None:
    assert re.search(DIRT[what], raw)


def test_rows_are_repeated_in_the_samples(raw: str) -> None:
    lines = raw.splitlines()
    assert len(lines) > len(set(lines))


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_no_secret_stands_in_a_declaration(path: Path) -> None:
    connection = load(path).connection
    kept = {name: value for name, value in connection.items() if name not in ("base_url", "ca_file", "proxy")}
    assert all(str(value).startswith(("env:", "file:")) for value in kept.values())
