"""The console's doors: who may open what, coming in, staying and leaving, and forms from elsewhere."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from console_parts import PASSWORD, console_app, form_of, people, signed_in
from console_states import NOW, STATES, Reports
from flask import Flask

from hub.accounts import FREE_TRIES, IDLE, LONGEST, Accounts
from hub.app import Server, bind
from hub.web.doors import RIGHTS


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def held(tmp_path: Path, clock: Clock) -> Accounts:
    return people(tmp_path, clock)


@pytest.fixture
def app(held: Accounts) -> Flask:
    return console_app(STATES["well"](), reports=Reports(), accounts=held, is_open=False)


# --- who may open what ---

NIGHT = "/nights/jiahu/2026-11-23"


def test_every_address_has_its_right_and_every_right_its_address(app: Flask) -> None:
    ours = {rule.endpoint.removeprefix("console.") for rule in app.url_map.iter_rules()}
    assert ours == RIGHTS.keys()


def test_the_overview_alone_can_be_opened_to_everybody(held: Accounts) -> None:
    client = console_app(STATES["well"](), reports=Reports(), accounts=held, is_open=True).test_client()
    assert client.get("/").status_code == client.get("/status.json").status_code == client.get("/metrics").status_code == 200
    assert client.get(NIGHT, headers={"Accept": "text/html"}).status_code == 302


def test_without_accounts_there_is_nothing_to_sign_in_to() -> None:
    client = console_app(STATES["well"](), reports=Reports(), is_open=False).test_client()
    assert [client.get(path).status_code for path in ("/", "/login", "/nights/a/b", "/status.json")] == [404] * 4
    assert client.get("/healthz").status_code == 200


# --- in, within and out ---


def test_a_login_gives_a_session_that_logout_ends(app: Flask, held: Accounts) -> None:
    client = app.test_client()
    first = client.get("/nights/jiahu/2026-11-23", headers={"Accept": "text/html"}).headers["Location"]
    form = form_of(client.get(first).text)
    reply = client.post("/login", data={"form": form, "name": "viewer", "password": PASSWORD, "next": NIGHT})
    assert (reply.status_code, reply.headers["Location"]) == (303, NIGHT)
    cookie = next(part for part in reply.headers.getlist("Set-Cookie") if part.startswith("crossregion="))
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Expires" not in cookie
    page = client.get("/").text
    assert "viewer" in page
    kept = client.get_cookie("crossregion")
    assert kept is not None
    assert client.post("/logout", data={"form": form_of(page)}).status_code == 303
    client.set_cookie("crossregion", kept.value)
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 302
    assert [each.what for each in held.journal(9)][:2] == ["logout", "login"]


def test_the_cookie_is_bound_to_host_and_tls_where_readers_come_by_tls(held: Accounts) -> None:
    client = console_app(STATES["well"](), accounts=held, is_open=False, secure=True).test_client()
    page = client.get("/login", base_url="https://localhost")
    assert page.headers["Strict-Transport-Security"]
    reply = client.post("/login", base_url="https://localhost",
                        data={"form": form_of(page.text), "name": "viewer", "password": PASSWORD})  # fmt: skip
    cookie = next(part for part in reply.headers.getlist("Set-Cookie") if part.startswith("__Host-crossregion="))
    assert "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie


@pytest.mark.parametrize("length", [IDLE, LONGEST])
def test_a_session_ends_when_idle_or_old(app: Flask, clock: Clock, length: timedelta) -> None:
    client = signed_in(app.test_client(), "viewer")
    step = IDLE - timedelta(minutes=1) if length == LONGEST else length
    while clock.at < NOW + length:
        clock.at += step
        if clock.at < NOW + length:
            assert client.get("/").status_code == 200
    clock.at = NOW + length + timedelta(seconds=1)
    assert client.get("/").status_code == 401


def test_blocking_a_person_or_changing_a_role_holds_at_once(app: Flask, held: Accounts) -> None:
    client = signed_in(app.test_client(), "administrator")
    held.change("administrator", "operator", blocked=True)
    assert client.get("/").status_code == 401
    form = form_of(client.get("/login").text)
    refused = client.post("/login", data={"form": form, "name": "administrator", "password": PASSWORD})
    assert refused.status_code == 401 and "账号与口令不符" in refused.text


def test_wrong_passwords_make_an_account_wait_longer_each_time(app: Flask, held: Accounts, clock: Clock) -> None:
    client = app.test_client()

    def attempt(password: str) -> Any:
        form = form_of(client.get("/login").text)
        return client.post("/login", data={"form": form, "name": "viewer", "password": password})

    for _ in range(FREE_TRIES):
        assert "账号与口令不符" in attempt("wrong").text
    assert "需等待" in attempt(PASSWORD).text
    clock.at += timedelta(seconds=31)
    assert "账号与口令不符" in attempt("wrong").text
    clock.at += timedelta(seconds=31)
    assert "需等待" in attempt(PASSWORD).text
    clock.at += timedelta(seconds=30)
    assert attempt(PASSWORD).status_code == 303
    assert held.find("viewer").failures == 0


def test_an_unknown_name_is_answered_like_a_wrong_password_and_noted_without_it(app: Flask, held: Accounts) -> None:
    client = app.test_client()
    pages = []
    for name in ("viewer", "nobody-of-that-name"):
        form = form_of(client.get("/login").text)
        pages.append(client.post("/login", data={"form": form, "name": name, "password": "wrong"}))
    assert pages[0].status_code == pages[1].status_code == 401
    assert pages[0].text == pages[1].text
    assert not any("nobody-of-that-name" in str(each) for each in held.journal(20))


def test_logins_from_one_address_are_limited(app: Flask) -> None:
    client = app.test_client()
    form = form_of(client.get("/login").text)
    codes = [client.post("/login", data={"form": form, "name": f"n{n}", "password": "wrong"}).status_code for n in range(21)]
    assert codes == [401] * 20 + [429]


@pytest.mark.parametrize(
    "where",
    ["//evil.example/x", "/\t/evil.example", "/\x00", "https://evil.example", "/\\evil.example", "javascript:alert(1)", ""],
)
def test_a_login_leads_to_this_console_alone(app: Flask, where: str) -> None:
    client = app.test_client()
    form = form_of(client.get("/login").text)
    reply = client.post("/login", data={"form": form, "name": "viewer", "password": PASSWORD, "next": where})
    assert reply.headers["Location"] == "/"


# --- forms from elsewhere ---


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"Origin": "https://evil.example"}},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"headers": {"Sec-Fetch-Site": "same-site"}},
        {"headers": {"Origin": "null"}},
        {"form": ""},
        {"form": "A" * 43},
        {"form": None},
    ],
)
def test_a_form_from_elsewhere_changes_nothing(app: Flask, how: dict[str, Any]) -> None:
    client = signed_in(app.test_client(), "viewer")
    data = {"form": how.get("form", form_of(client.get("/").text))}
    reply = client.post("/logout", data={k: v for k, v in data.items() if v is not None}, headers=how.get("headers"))
    assert reply.status_code == 403
    assert client.get("/").status_code == 200


def test_the_form_of_another_session_is_refused(app: Flask) -> None:
    one, other = signed_in(app.test_client(), "viewer"), signed_in(app.test_client(), "coordinator")
    assert one.post("/logout", data={"form": form_of(other.get("/").text)}).status_code == 403
    assert one.get("/").status_code == 200


def test_a_monitor_asks_for_figures_by_name_and_password(app: Flask, held: Accounts) -> None:
    client = app.test_client()
    assert client.get("/metrics", auth=("viewer", PASSWORD)).status_code == 200
    assert client.get("/status.json", auth=("viewer", PASSWORD)).status_code == 200
    assert client.get("/metrics", auth=("viewer", "wrong")).status_code == 401
    assert held.find("viewer").failures == 1
    # Nothing else opens so, and no session begins.
    assert client.get(NIGHT, auth=("viewer", PASSWORD), headers={"Accept": "text/html"}).status_code == 302
    assert client.get_cookie("crossregion") is None
    held.change("viewer", "operator", blocked=True)
    assert client.get("/metrics", auth=("viewer", PASSWORD)).status_code == 401


def test_behind_a_proxy_tries_are_counted_by_where_they_come_from(app: Flask) -> None:
    bound = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/login"
    server = Server(app, bound, None, proxied=True)
    server.start()

    def tries(address: str, n: int) -> list[int]:
        with requests.Session() as session:
            session.headers["X-Forwarded-For"] = address
            data = {"form": form_of(session.get(url, timeout=30).text), "name": "viewer", "password": "wrong"}
            return [session.post(url, data=data, timeout=30).status_code for _ in range(n)]

    try:
        assert tries("198.51.100.7", 21) == [401] * 20 + [429]
        assert tries("198.51.100.8", 1) == [401]
    finally:
        server.stop()


def test_what_a_session_saw_is_kept_by_no_cache(app: Flask) -> None:
    client = signed_in(app.test_client(), "viewer")
    assert client.get("/").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("lang", "said"), [("zh", "登录已结束"), ("en", "your session has ended")])
def test_a_form_sent_after_the_session_ended_leads_to_the_door(app: Flask, clock: Clock, lang: str, said: str) -> None:
    client = signed_in(app.test_client(), "viewer")
    form = form_of(client.get(f"/?lang={lang}").text)
    clock.at += IDLE + timedelta(seconds=1)
    reply = client.post("/logout", data={"form": form})
    assert reply.status_code == 403 and said in reply.text and 'href="/login"' in reply.text


def test_who_tries_too_often_is_told_in_their_language(app: Flask) -> None:
    client = app.test_client()
    form = form_of(client.get("/login?lang=zh").text)
    replies = [client.post("/login", data={"form": form, "name": "nobody", "password": ""}) for _ in range(21)]
    assert replies[-1].status_code == 429 and "请求过于频繁" in replies[-1].text
