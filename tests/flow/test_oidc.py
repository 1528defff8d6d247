"""Signing in by an identity provider: a real one answers on loopback, and every way of cheating is refused."""

import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import oidc_provider_mock
import pytest
import requests
from console_parts import console_app, people
from console_states import NOW, STATES
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from hub.accounts import Accounts
from hub.canonical import b64url
from hub.errors import KeyRefused, Unreachable
from hub.oidc import Provider, Told

BACK = "http://localhost/login/oidc/back"
LABEL = {"zh": "政务平台", "en": "Government platform"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with oidc_provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def held(tmp_path: Path) -> Accounts:
    return people(tmp_path, lambda: NOW)


def console(held: Accounts, issuer: str) -> FlaskClient:
    provider = Provider(Told(issuer, "crossregion", "a secret", "sub", LABEL), BACK)
    return console_app(STATES["well"](), accounts=held, provider=provider, is_open=False).test_client()


def vouched(url: str, name: str) -> str:
    """What the provider sends somebody back with who says there to be this one."""
    reply = requests.post(url, data={"sub": name}, allow_redirects=False, timeout=10)
    assert reply.headers["Location"].startswith(BACK)
    return urlsplit(reply.headers["Location"]).query


def test_whom_the_provider_vouches_for_is_in(held: Accounts, issuer: str) -> None:
    client = console(held, issuer)
    assert "使用政务平台登录" in client.get("/login?lang=zh").text
    begun = client.get("/login/oidc")
    assert begun.status_code == 303
    asked = parse_qs(urlsplit(begun.headers["Location"]).query)
    assert asked["code_challenge_method"] == ["S256"] and asked["nonce"] and asked["state"]
    back = client.get("/login/oidc/back?" + vouched(begun.headers["Location"], "coordinator"))
    assert back.status_code == 200 and 'content="0;url=/"' in back.text
    assert client.get("/").status_code == 200
    assert [each.who for each in held.journal(1)] == ["coordinator"]


def test_whom_no_account_knows_stays_out(held: Accounts, issuer: str) -> None:
    client = console(held, issuer)
    begun = client.get("/login/oidc")
    back = client.get("/login/oidc/back?" + vouched(begun.headers["Location"], "somebody"))
    assert back.status_code == 401 and "没有账号" in back.text
    assert client.get("/").status_code == 401 and not held.journal(1, who="somebody")


def test_a_blocked_account_stays_out(held: Accounts, issuer: str) -> None:
    held.change("viewer", "test", blocked=True)
    client = console(held, issuer)
    begun = client.get("/login/oidc")
    assert client.get("/login/oidc/back?" + vouched(begun.headers["Location"], "viewer")).status_code == 401


def test_an_answer_of_another_browser_is_refused(held: Accounts, issuer: str) -> None:
    theirs, mine = console(held, issuer), console(held, issuer)
    query = vouched(theirs.get("/login/oidc").headers["Location"], "administrator")
    assert mine.get("/login/oidc/back?" + query).status_code == 401
    mine.get("/login/oidc")
    assert mine.get("/login/oidc/back?" + query).status_code == 401
    assert mine.get("/").status_code == 401


def test_an_answer_serves_once(held: Accounts, issuer: str) -> None:
    client = console(held, issuer)
    query = vouched(client.get("/login/oidc").headers["Location"], "viewer")
    assert client.get("/login/oidc/back?" + query).status_code == 200
    assert client.get("/login/oidc/back?" + query).status_code == 401


@pytest.mark.parametrize("query", ["", "code=x", "error=access_denied&state=x", "code=x&state=x", "state=%00&code=%ff"])
def test_an_answer_that_is_none_is_refused(held: Accounts, issuer: str, query: str) -> None:
    client = console(held, issuer)
    client.get("/login/oidc")
    assert client.get("/login/oidc/back?" + query).status_code == 401


def test_a_provider_that_is_away_or_another_is_told(held: Accounts, issuer: str) -> None:
    client = console(held, "http://localhost:9")
    reply = client.get("/login/oidc")
    assert reply.status_code == 503 and "统一身份认证未能" in reply.text
    other = Provider(Told(issuer + "/", "crossregion", "s", "sub", LABEL), BACK)
    with pytest.raises(KeyRefused):
        other.begin()


# --- a provider that cheats ---

KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})
FORGER = RSAKey.generate_key(2048, parameters={"kid": "one"})


class Cheat:
    """A provider whose ID token is whatever a test makes of it."""

    def __init__(self) -> None:
        self.make: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode({"alg": "RS256", "kid": "one"}, claims, KEY)
        self.nonce = ""
        cheat = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(cheat.documents()[self.path])

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._say({"access_token": "x", "token_type": "Bearer", "id_token": cheat.make(cheat.claims())})

            def _say(self, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def documents(self) -> dict[str, Any]:
        ends = {f"{name}_endpoint": f"{self.issuer}/{name}" for name in ("authorization", "token")}
        return {
            "/.well-known/openid-configuration": {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"} | ends,
            "/keys": {"keys": [KEY.as_dict(private=False)]},
        }

    def claims(self) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": self.issuer, "aud": "crossregion", "sub": "viewer", "nonce": self.nonce, "iat": now, "exp": now + 60}

    def sign_in(self) -> str:
        provider = Provider(Told(self.issuer, "crossregion", "s", "sub", LABEL), BACK)
        _, kept = provider.begin()
        begun = json.loads(kept)
        self.nonce = begun["nonce"]
        return provider.finish(f"code=x&state={begun['state']}", kept)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def cheat() -> Iterator[Cheat]:
    made = Cheat()
    yield made
    made.close()


def test_an_honest_token_is_believed(cheat: Cheat) -> None:
    assert cheat.sign_in() == "viewer"


@pytest.mark.parametrize(
    "change",
    [{"iss": "http://127.0.0.1:1"}, {"aud": "another"}, {"aud": ["another"]}, {"nonce": "another"}, {"nonce": None},
     {"exp": 1}, {"exp": None}, {"iat": None}, {"iat": 9_999_999_999}, {"sub": None}, {"sub": 7}, {"sub": ""},
     {"aud": ["crossregion", "another"], "azp": "another"}],
)  # fmt: skip
def test_a_token_for_another_matter_is_refused(cheat: Cheat, change: dict[str, Any]) -> None:
    def made(claims: dict[str, Any]) -> str:
        told = {name: value for name, value in (claims | change).items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": "one"}, told, KEY)

    cheat.make = made
    with pytest.raises(KeyRefused):
        cheat.sign_in()


def _by_public_key(claims: dict[str, Any]) -> str:
    """Signed as if the public key were a shared secret, the oldest of the tricks."""
    parts = [b64url(json.dumps(each).encode()) for each in ({"alg": "HS256", "kid": "one"}, claims)]
    text = b".".join(parts)
    return b".".join([text, b64url(hmac.digest(KEY.as_pem(private=False), text, "sha256"))]).decode()


def _unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "none"}, claims, OctKey.import_key("x" * 32), algorithms=["none"])


@pytest.mark.parametrize(
    "make",
    [lambda claims: jwt.encode({"alg": "RS256", "kid": "one"}, claims, FORGER), _by_public_key, _unsigned,
     lambda claims: "x.y.z", lambda claims: "", lambda claims: [1], lambda claims: None],
)  # fmt: skip
def test_a_token_that_the_provider_did_not_sign_is_refused(cheat: Cheat, make: Any) -> None:
    cheat.make = make
    with pytest.raises(KeyRefused):
        cheat.sign_in()


def test_a_provider_without_keys_is_not_believed(cheat: Cheat) -> None:
    documents = cheat.documents()
    del documents["/.well-known/openid-configuration"]["jwks_uri"]
    cheat.documents = lambda: documents  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        cheat.sign_in()
