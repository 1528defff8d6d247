"""The signatures of real gateways, against values computed by other programs (openssl, md5sum)."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from adapters.base import Look, Retry
from adapters.connection import Connection
from adapters.fetch import Reply, Request
from adapters.gateways import OPTIONS, DataSharingToken, IrsHmac, authenticator, http_date
from adapters.transforms import parse_json

AT = datetime(2026, 11, 22, 17, 3, 11, tzinfo=timezone(timedelta(hours=8)))


def headers_of(request: Request, now: datetime, access: str, secret: str) -> dict[str, str]:
    return dict(IrsHmac(access, secret, lambda: now).sign(request).headers)


def test_irs_signature_of_the_manuals_request():
    request = Request("POST", "/restapi/prod/IC33000020211105003270/post", {"v": 123, "test": "123"}, {})
    assert headers_of(request, datetime(2021, 11, 9, 8, 49, 20, tzinfo=UTC), "test", "tet") == {
        "X-BG-HMAC-SIGNATURE": "KJJG0L/1ilAOrfHxAsJR67f6oVm38fwREEp9hFnAcis=",
        "X-BG-HMAC-ALGORITHM": "hmac-sha256",
        "X-BG-HMAC-ACCESS-KEY": "test",
        "X-BG-DATE-TIME": "Tue, 09 Nov 2021 08:49:20 GMT",
    }


def test_irs_signature_covers_the_query_as_it_is_sent_and_no_body():
    query = Request("GET", "/a/b", {"page": 1, "name": "张 +"}, {})
    assert query.query() == "name=%E5%BC%A0%20%2B&page=1"
    assert headers_of(query, AT, "AK", "SK")["X-BG-HMAC-SIGNATURE"] == "vodYAWCKF0bhJzxVFU2mZ2lmnn6b+BAi50x2G4uUAnM="
    one, other = (Request("POST", "/a", {"x": n}, {}, "json") for n in (1, 2))
    assert headers_of(one, AT, "AK", "SK") == headers_of(other, AT, "AK", "SK")


def test_dates_are_in_english_and_gmt_in_any_locale():
    assert http_date(AT) == "Sun, 22 Nov 2026 09:03:11 GMT"


# --- the data-sharing gateway ---


class Gateway:
    """Answers as the gateway does; what it was asked is kept."""

    prefix = ""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answers: list[tuple[int, str]] = []

    def send(self, request: Request) -> Reply:
        self.asked.append(request)
        n = len(self.asked)
        good = f'{{"code":"00","datas":{{"refreshSecret":"refresh-{n}","requestSecret":"request-{n}"}}}}'
        status, body = self.answers.pop(0) if self.answers else (200, good)
        return Reply("gateway", status, {}, body.encode())


class Clock:
    now = AT

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def connection(clock, **values) -> Connection:
    secrets = {"env:AK": "A33", "env:SK": "app-secret"}
    kept = {"access_key": "env:AK", "secret_key": "env:SK", **values}
    return Connection("330500 cases", kept, secrets.__getitem__, clock, Path())


def token(clock, gateway, **options) -> DataSharingToken:
    loaded = OPTIONS["data_sharing_token"]().load(options)
    return DataSharingToken(loaded, connection(clock), gateway)


def test_each_step_is_signed_with_the_secret_of_the_step_before(clock):
    gateway = Gateway()
    auth = token(clock, gateway)
    signed = auth.sign(Request("GET", "/gateway/api/x.htm", {"page": "1"}, {}))
    assert [each.path for each in gateway.asked] == ["/gateway/app/refreshTokenByKey.htm"]
    assert gateway.asked[0].params == {
        "appKey": "A33",
        "sign": "885cc1106f21b73aebf30acf071f2c1f",
        "requestTime": "1795338191000",
    }
    assert signed.params == {
        "page": "1",
        "appKey": "A33",
        "sign": "6b8832bce698c79a1de9f554600ceed4",
        "requestTime": "1795338191000",
    }


def test_the_request_secret_is_renewed_by_the_refresh_secret_before_15_minutes_and_that_before_48_hours(
    clock,
):
    gateway = Gateway()
    auth = token(clock, gateway)

    def paths_after(wait: timedelta) -> list[str]:
        clock.now += wait
        before = len(gateway.asked)
        auth.sign(Request("GET", "/x", {}, {}))
        return [each.path[len("/gateway/app/") :] for each in gateway.asked[before:]]

    assert paths_after(timedelta()) == ["refreshTokenByKey.htm"]
    assert paths_after(timedelta(minutes=13)) == []
    assert paths_after(timedelta(minutes=2)) == ["refreshTokenBySec.htm"]
    assert paths_after(timedelta(hours=1)) == ["refreshTokenBySec.htm"]
    assert paths_after(timedelta(hours=46, minutes=29)) == ["refreshTokenBySec.htm"]
    assert paths_after(timedelta(minutes=15)) == ["refreshTokenByKey.htm"], "48 h, less a minute to be safe"


def test_the_refresh_is_signed_with_the_refresh_secret(clock):
    gateway = Gateway()
    auth = token(clock, gateway)
    auth.sign(Request("GET", "/x", {}, {}))
    assert auth.renew()
    auth.sign(Request("GET", "/x", {}, {}))
    assert gateway.asked[1].params["sign"] == "8b8616903e5f8ef126175c2c30a7b1fd"
    assert auth.renew()
    assert not auth.renew(), "what is already dropped cannot be renewed by dropping it again"


def test_a_gateway_that_gives_only_the_refresh_secret_is_asked_once_more(clock):
    gateway = Gateway()
    gateway.answers = [(200, '{"code":"00","datas":{"refreshSecret":"refresh-1"}}')]
    token(clock, gateway).sign(Request("GET", "/x", {}, {}))
    assert [each.path for each in gateway.asked] == [
        "/gateway/app/refreshTokenByKey.htm",
        "/gateway/app/refreshTokenBySec.htm",
    ]


def test_a_countys_own_edition_is_configuration(clock):
    gateway = Gateway()
    gateway.answers = [(200, '{"code":"0","data":{"refreshSecret":"r","requestSecret":"s"}}')]
    auth = token(
        clock,
        gateway,
        key_name="appkey",
        refresh_path="/share/appsecret",
        method="POST",
        payload="data",
        success="0",
    )
    assert auth.sign(Request("POST", "/x", {}, {}, "json")).params["appkey"] == "A33"
    [asked] = gateway.asked
    assert (asked.method, asked.path, asked.query()) == ("POST", "/share/appsecret", "")
    assert parse_json(asked.body().decode())["appkey"] == "A33"


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((200, '{"code":"15","msg":"签名错误"}'), Look, "refused: 签名错误"),
        ((200, '{"code":"00","datas":null}'), Look, "no secret at datas"),
        ((200, "<html>"), Look, "not JSON"),
        ((401, '{"message":"Invalid signature"}'), Look, "refused with 401: Invalid signature"),
        ((503, ""), Retry, "answered 503"),
    ],
)
def test_what_the_gateway_says_is_said_and_no_secret(clock, answer, error, words):
    gateway = Gateway()
    gateway.answers = [answer]
    with pytest.raises(error) as caught:
        token(clock, gateway).sign(Request("GET", "/x", {}, {}))
    assert words in str(caught.value)
    assert "app-secret" not in str(caught.value)
    assert "A33" not in str(caught.value)


# --- the plain ones ---


@pytest.mark.parametrize(
    ("name", "options", "values", "headers", "params"),
    [
        ("none", {}, {}, {}, {}),
        ("bearer", {}, {"token": "env:SK"}, {"Authorization": "Bearer app-secret"}, {}),
        (
            "http_basic",
            {},
            {"username": "env:AK", "password": "env:SK"},
            {"Authorization": "Basic QTMzOmFwcC1zZWNyZXQ="},
            {},
        ),
        ("api_key", {"name": "X-Key"}, {"api_key": "env:AK"}, {"X-Key": "A33"}, {}),
        ("api_key", {"name": "key", "in": "query"}, {"api_key": "env:AK"}, {}, {"key": "A33"}),
    ],
)
def test_plain_authentication(clock, name, options, values, headers, params):
    auth = authenticator(name, OPTIONS[name]().load(options), connection(clock, **values), Gateway())
    signed = auth.sign(Request("GET", "/x", {}, {}))
    assert (signed.headers, signed.params, auth.renew()) == (headers, params, False)


@pytest.mark.parametrize("name", ["irs_hmac", "data_sharing_token"])
def test_a_missing_key_is_named(clock, name):
    with pytest.raises(Look, match=r"connection\.secret_key is missing"):
        authenticator(name, OPTIONS[name]().load({}), connection(clock, secret_key=None), Gateway())
