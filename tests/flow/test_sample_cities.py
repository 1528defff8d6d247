"""The ten sample cities read from end to end: source, mapper and kind against what the cities know.

`truth` comes from the cities' own records; nothing here reads a table but the code under test.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from adapters.base import Refuse, Retry
from adapters.declaration import Declaration, Feed, load
from adapters.sample import SampleCities
from adapters.sample.books import books
from adapters.sample.servers import CHINA, TokenGateway
from hub.kinds import Kind, load_kinds

ROOT = Path(__file__).parents[2]
FEEDS = sorted(books())
Body = dict[str, Any]


def now() -> datetime:
    return datetime.now(CHINA)


@pytest.fixture(scope="module")
def kinds() -> dict[str, Kind]:
    return load_kinds(ROOT / "config" / "kinds")


@pytest.fixture(scope="module")
def declarations() -> dict[str, Declaration]:
    regions = ("jiaxing_huzhou", "changxing_anji_guangde")
    found = [load(path) for region in regions for path in (ROOT / "adapters" / region).glob("*.yaml")]
    return {declaration.code: declaration for declaration in found}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleCities]:
    with SampleCities(tmp_path_factory.mktemp("cities"), size=40) as cities:
        yield cities


class Read(NamedTuple):
    """What one read gave; bodies by source key, `left` the columns nobody knew."""

    bodies: dict[str, Body]
    refused: list[Refuse]
    left: set[str]
    cursor: str | None
    rows: int
    retracted: list[str]


def read(cities: SampleCities, feed: Feed, kind: Kind, cursor: str | None = None) -> Read:
    mapper, rows, retracted = feed.mapper(), 0, list[str]()
    bodies, refused = dict[str, Body](), list[Refuse]()
    connection = cities.connections[feed.code]
    source = feed.source(connection, cities.secrets.__getitem__, now=now)
    for page in source.pages(cursor):
        cursor = page.cursor or cursor
        for row in page.rows:
            rows += 1
            try:
                mapped = mapper(row)
            except Refuse as error:
                refused.append(error)
                continue
            assert mapped.origin == feed.code
            if mapped.retract:
                bodies.pop(mapped.key, None)
                retracted.append(mapped.key)
                continue
            kind.accept(mapped.body)
            bodies[mapped.key] = mapped.body
    return Read(bodies, refused, set(mapper.leftovers), cursor, rows, retracted)


def by_name(bodies: list[Body]) -> list[Body]:
    return sorted(bodies, key=lambda b: str(b.get("letter_no") or b.get("case_code") or b.get("check_code")))


def feed_of(declarations: dict[str, Declaration], code: str, name: str) -> Feed:
    return next(feed for feed in declarations[code].feeds if feed.name == name)


@pytest.mark.parametrize(("code", "name"), FEEDS)
def test_a_whole_read_gives_what_the_city_knows(
    code: str, name: str, running: SampleCities, declarations: dict[str, Declaration], kinds: dict[str, Kind]
) -> None:
    feed = feed_of(declarations, code, name)
    found = read(running, feed, kinds[feed.kind])
    assert by_name(list(found.bodies.values())) == by_name(running.truth(code, name))
    assert len(found.refused) == books()[code, name].spoilt
    assert all(refusal.field == books()[code, name].spoil[0] for refusal in found.refused)
    assert all(refusal.key for refusal in found.refused)
    assert found.left == set()


class Edited(NamedTuple):
    """Every feed read before and after its edits and after a restart, and what the city then knew."""

    before: dict[tuple[str, str], Read]
    after: dict[tuple[str, str], Read]
    again: dict[tuple[str, str], Read]
    truth: dict[tuple[str, str], list[Body]]


@pytest.fixture(scope="module")
def edited(
    tmp_path_factory: pytest.TempPathFactory, declarations: dict[str, Declaration], kinds: dict[str, Kind]
) -> Edited:
    def read_all(cities: SampleCities) -> dict[tuple[str, str], Read]:
        wanted = {at: feed_of(declarations, *at) for at in FEEDS}
        return {at: read(cities, feed, kinds[feed.kind]) for at, feed in wanted.items()}

    folder = tmp_path_factory.mktemp("edited")
    with SampleCities(folder, size=12) as cities:
        before = read_all(cities)
        for at in FEEDS:
            cities.drop(*at, 2)
            cities.change(*at, 3)
            cities.add(*at, 2)
            cities.spoil(*at)
        after, truth = read_all(cities), {at: cities.truth(*at) for at in FEEDS}
    with SampleCities(folder, size=12) as cities:
        return Edited(before, after, read_all(cities), truth)


@pytest.mark.parametrize("at", FEEDS, ids=" ".join)
def test_edits_are_read_and_survive_a_restart(at: tuple[str, str], edited: Edited) -> None:
    before, after = edited.before[at].bodies, edited.after[at].bodies
    assert by_name(list(after.values())) == by_name(edited.truth[at])
    assert len(edited.after[at].refused) == len(edited.before[at].refused) + 1
    assert before.keys() - after.keys()
    assert after.keys() - before.keys()
    assert any(after[key] != before[key] for key in after.keys() & before.keys())
    assert edited.again[at].bodies == after


def test_every_feed_is_declared(declarations: dict[str, Declaration]) -> None:
    found = {(feed.code, feed.name) for declared in declarations.values() for feed in declared.feeds}
    assert found == set(FEEDS)


def test_a_directory_holds_one_sample(tmp_path: Path) -> None:
    with SampleCities(tmp_path, size=3):
        pass
    with pytest.raises(ValueError, match="seed 1, size 3"), SampleCities(tmp_path, seed=2, size=3):
        pass


INCREMENTAL = [("330400", "cases"), ("330400", "inspections"), ("330503", "cases"), ("330503", "inspections")]


@pytest.mark.parametrize(("code", "name"), INCREMENTAL)
def test_an_incremental_read_gives_what_changed_since(
    code: str,
    name: str,
    tmp_path: Path,
    declarations: dict[str, Declaration],
    kinds: dict[str, Kind],
) -> None:
    feed = feed_of(declarations, code, name)
    with SampleCities(tmp_path, size=30) as cities:
        whole = read(cities, feed, kinds[feed.kind])
        cities.add(code, name)  # an hour and more after the rows of the start
        cursor = read(cities, feed, kinds[feed.kind], whole.cursor).cursor
        cities.change(code, name)
        cities.drop(code, name)
        part = read(cities, feed, kinds[feed.kind], cursor)
        truth = cities.truth(code, name)
    assert part.rows < whole.rows / 2
    assert bool(part.retracted) == bool(books()[code, name].operation)
    standing = whole.bodies | part.bodies
    for key in part.retracted:
        standing.pop(key, None)
    if books()[code, name].operation:
        assert by_name(list(standing.values())) == by_name(truth)


@pytest.fixture(scope="module")
def halting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleCities]:
    with SampleCities(tmp_path_factory.mktemp("halting"), size=5) as cities:
        yield cities


@pytest.mark.parametrize("code", sorted({code for code, _ in FEEDS}))
def test_a_stopped_city_is_told_from_an_empty_one(
    code: str, halting: SampleCities, declarations: dict[str, Declaration], kinds: dict[str, Kind]
) -> None:
    feed = declarations[code].feeds[0]
    halting.stop(code)
    with pytest.raises(Retry):
        read(halting, feed, kinds[feed.kind])
    halting.add(code, feed.name)
    halting.resume(code)
    found = read(halting, feed, kinds[feed.kind])
    assert by_name(list(found.bodies.values())) == by_name(halting.truth(code, feed.name))


# ---------------------------------------------------------------- what the gateways refuse

IRS = "/restapi/prod/IC33040020220615000021/punish/list"
Ask = Callable[..., requests.Response]


@pytest.fixture
def irs(running: SampleCities) -> Ask:
    """Ask the HMAC gateway, right unless told otherwise."""
    key, secret = running.secrets["env:JIAXING_ACCESS_KEY"], running.secrets["env:JIAXING_SECRET_KEY"]

    def ask(path: str = IRS, key: str = key, late: timedelta = timedelta(), spoil: bool = False) -> requests.Response:
        date = format_datetime(datetime.fromtimestamp((now() + late).timestamp(), tz=UTC), usegmt=True)
        signed = f"GET\n{path}\npageNum=1&pageSize=5\n{key}\n{date}\n"
        mark = base64.b64encode(hmac.digest(secret.encode(), signed.encode(), "sha256")).decode()
        headers = {
            "X-BG-HMAC-SIGNATURE": ("B" if mark[0] == "A" else "A") + mark[1:] if spoil else mark,
            "X-BG-HMAC-ALGORITHM": "hmac-sha256",
            "X-BG-HMAC-ACCESS-KEY": key,
            "X-BG-DATE-TIME": date,
        }
        url = running.connections["330400"]["base_url"] + path + "?pageSize=5&pageNum=1"
        return requests.get(url, headers=headers, timeout=5)

    return ask


def test_the_hmac_gateway_answers_a_right_request(irs: Ask) -> None:
    answer = irs()
    assert answer.status_code == 200
    assert len(answer.json()["data"]["rows"]) == 5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"spoil": True}, "Invalid signature"),
        ({"key": "somebody"}, "Invalid access key"),
        ({"late": timedelta(seconds=-100)}, "Clock skew exceeded"),
        ({"late": timedelta(seconds=100)}, "Clock skew exceeded"),
        ({"path": "/restapi/prod/other"}, "The route_id is forbidden."),
    ],
)
def test_the_hmac_gateway_refuses(irs: Ask, wrong: dict[str, Any], words: str) -> None:
    answer = irs(**wrong)
    assert answer.status_code == 401
    assert answer.json()["message"] == words


def token_ask(running: SampleCities, code: str, path: str, secret: str, **wrong: Any) -> dict[str, Any]:
    """Ask a token gateway with this secret, right unless told otherwise; gives its JSON."""
    name, prefix = {"330500": ("appKey", "HUZHOU"), "330521": ("appkey", "DEQING")}[code]
    key = wrong.get("key", running.secrets[f"env:{prefix}_APP_KEY"])
    moment = str(int((now() + wrong.get("late", timedelta())).timestamp() * 1000))
    mark = hashlib.md5(f"{key}{secret}{moment}".encode()).hexdigest()
    given = {name: key, "requestTime": moment, "sign": wrong.get("sign", mark), "limit": 3}
    url = running.connections[code]["base_url"] + path
    if code == "330500":
        return dict(requests.get(url, params=given, timeout=5).json())
    return dict(requests.post(url, json=given, timeout=5).json())


TOKEN = {
    "330500": (
        "HUZHOU",
        "/gateway/app/refreshTokenByKey.htm",
        "/gateway/app/refreshTokenBySec.htm",
        "/gateway/api/001003017/dataSharing/Kq2xV7cWn30Tb8Lz.htm",
    ),
    "330521": ("DEQING", "/share/appsecret", "/share/interfaceSecurity", "/share/api/punish"),
}


@pytest.mark.parametrize("code", TOKEN)
def test_a_token_gateway_lends_secrets_that_expire(code: str, running: SampleCities) -> None:
    prefix, refresh, request, data = TOKEN[code]
    load = "datas" if code == "330500" else "data"
    app = running.secrets[f"env:{prefix}_APP_SECRET"]
    first = token_ask(running, code, refresh, app)
    second = token_ask(running, code, request, first[load]["refreshSecret"])
    secret = second[load]["requestSecret"]
    assert token_ask(running, code, data, secret)["code"] == "00"
    assert token_ask(running, code, data, first[load]["requestSecret"])["msg"] == "签名错误"
    gateway = running.gateways[code]
    assert isinstance(gateway, TokenGateway)
    gateway.expire()
    assert token_ask(running, code, data, secret)["msg"] == "请求秘钥已过期"


@pytest.mark.parametrize("code", TOKEN)
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sign": "0" * 32}, "签名错误"),
        ({"key": "somebody"}, "应用标识不存在"),
        ({"late": timedelta(seconds=-100)}, "请求时间超出允许范围"),
        ({"late": timedelta(seconds=100)}, "请求时间超出允许范围"),
    ],
)
def test_a_token_gateway_refuses(code: str, running: SampleCities, wrong: dict[str, Any], words: str) -> None:
    prefix, refresh, *_ = TOKEN[code]
    answer = token_ask(running, code, refresh, running.secrets[f"env:{prefix}_APP_SECRET"], **wrong)
    assert answer["code"] != "00"
    assert answer["msg"] == words


def test_the_county_gateway_takes_post_only(running: SampleCities) -> None:
    url = running.connections["330521"]["base_url"] + "/share/api/punish"
    assert requests.get(url, timeout=5).status_code == 405
