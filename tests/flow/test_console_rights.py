"""Role × page × action on a real hub: each address opens, and each form is taken, for its roles alone."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from city_parts import FILES, Town, row
from console_parts import PASSWORD, form_of, signed_in

from hub.accounts import ROLES
from hub.decisions import basis_of
from hub.web.doors import EVERYBODY, OPENED, RIGHTS

HOST = {"base_url": "http://127.0.0.1:8470"}
FLAGGED = ("    completeness: snapshot\n", "    completeness: snapshot\n    absent: flag\n")
NIGHT = "2026-11-23"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Town(tmp_path_factory.mktemp("town")) as made:
        made.declare(FILES, FLAGGED)
        made.drop(row(1), row(2), row(3))
        made.pull()
        made.drop(row(1))
        made.clock.on(minutes=1)
        made.nightly.run("pair", [NIGHT])
        for role in ROLES:
            made.hub.accounts.add(role, PASSWORD, role, who="test")
        made.hub.accounts.add("elsewhere", PASSWORD, "administrator", agreements=("another",), who="test")
        yield made


def addresses(town: Any) -> tuple[dict[str, str], dict[str, tuple[str, dict[str, str]]]]:
    """An address of each page, and of each form with what it needs."""
    first, second = (each.identity for each in town.store.differences())
    kind, id = next((each.kind, id) for each in town.store.series() if each.origin == FILES
                    for id, _ in town.store.walk(FILES, each.kind))  # fmt: skip
    record = f"/records/{kind.split('/')[0]}/{FILES}/{id}"
    city = f"/jurisdictions/{FILES}"
    pages = {
        "static": "/static/console.css", "healthz": "/healthz", "login": "/login", "overview": "/",
        "status_json": "/status.json", "metrics_text": "/metrics", "nights": "/nights", "night": f"/nights/pair/{NIGHT}",
        "night_export": f"/nights/pair/{NIGHT}.csv", "agreements": "/agreements", "agreement": "/agreements/pair",
        "ledger": "/ledger", "trust": "/trust.json", "differences": "/differences", "difference": f"/differences/{first}",
        "jurisdiction": city, "progress_json": f"{city}/progress.json", "records": "/records", "record": record,
        "evidence": f"{record}/evidence", "journal": "/journal",
    }  # fmt: skip
    page = town.hub.worklist.find(first)
    forms = {
        "decide": (f"/differences/{first}/decide", {"decision": "waive", "reason": "late_entry", "basis": basis_of(page)}),
        "assign": (f"/differences/{second}/assign", {"to": "coordinator"}),
        "search": ("/records", {"words": "x"}),
        "sync": (f"{city}/sync", {}),
        "pause": (f"{city}/pause", {"reason": "maintenance"}),
        "resume": (f"{city}/resume", {}),
    }
    return pages, forms


# The way to an identity provider is there only where one is declared; the door's own forms have their own tests.
ELSEWHERE = {"oidc", "oidc_back", "enter", "leave"}


def test_the_matrix_is_whole(town: Any) -> None:
    pages, forms = addresses(town)
    assert pages.keys() | forms.keys() | ELSEWHERE == RIGHTS.keys()
    ours = {(rule.endpoint.removeprefix("console."), rule.rule) for rule in town.hub.web().url_map.iter_rules()
            if rule.endpoint.startswith("console.")}  # fmt: skip
    assert {endpoint for endpoint, _ in ours} == RIGHTS.keys()
    for endpoint, path in pages.items():
        shape = next(rule for name, rule in ours if name == endpoint)
        assert re.fullmatch(re.sub(r"<[^>]+>", "[^ ]+", shape.replace(".", r"\.")), path), endpoint


@pytest.mark.parametrize("who", ["public", *ROLES])
def test_each_page_opens_to_its_roles_alone(town: Any, who: str) -> None:
    client = town.hub.web().test_client()
    if who != "public":
        signed_in(client, who, **HOST)
    for endpoint, path in addresses(town)[0].items():
        right, reply = RIGHTS[endpoint], client.get(path, headers={"Accept": "text/html"}, **HOST)
        if right == EVERYBODY:
            assert reply.status_code in (200, 303), path
        elif who == "public":
            assert reply.status_code in (302, 401), path
            assert reply.status_code == 401 or reply.headers["Location"].startswith("/login?next=")
        else:
            enough = right == OPENED or ROLES.index(who) >= ROLES.index(right)
            assert reply.status_code == (200 if enough else 403), path


@pytest.mark.parametrize("who", ["public", *ROLES])
def test_each_form_is_taken_from_its_roles_alone(town: Any, who: str) -> None:
    client = town.hub.web().test_client()
    if who != "public":
        signed_in(client, who, **HOST)
    form = form_of(client.get("/" if who != "public" else "/login", **HOST).text)
    for endpoint, (path, data) in addresses(town)[1].items():
        enough = who != "public" and ROLES.index(who) >= ROLES.index(RIGHTS[endpoint])
        assert client.post(path, data=data, **HOST).status_code == 403, endpoint
        before = what_stands(town)
        code = client.post(path, data=data | {"form": form}, **HOST).status_code
        assert code == (401 if who == "public" else 403) if not enough else code == 303, (endpoint, code)
        assert enough or what_stands(town) == before, endpoint


def what_stands(town: Any) -> Any:
    store = town.store
    return store.size(), store.differences(closed=True), store.pauses(), [run.number for run in store.last_pulls()]


def test_an_account_of_another_agreement_reaches_nothing_of_this_one(town: Any) -> None:
    client = signed_in(town.hub.web().test_client(), "elsewhere", **HOST)
    form = form_of(client.get("/", **HOST).text)
    pages, forms = addresses(town)
    before = what_stands(town)
    for endpoint in ("night", "night_export", "agreement", "difference", "jurisdiction", "progress_json", "record", "evidence"):
        assert client.get(pages[endpoint], **HOST).status_code == 404, endpoint
    for endpoint in ("decide", "assign", "sync", "pause", "resume"):
        path, data = forms[endpoint]
        assert client.post(path, data=data | {"form": form}, **HOST).status_code == 404, endpoint
    assert what_stands(town) == before
    for path in ("/", "/status.json", "/differences", "/nights", "/agreements"):
        text = client.get(path, **HOST).text
        assert FILES not in text and "/pair" not in text, path


def test_an_unknown_address_is_answered_in_the_consoles_own_words(town: Any) -> None:
    html = {"headers": {"Accept": "text/html,*/*;q=0.8"}} | HOST
    public, viewer = town.hub.web().test_client(), signed_in(town.hub.web().test_client(), "viewer", **HOST)
    for path in ("/nope", "/records/case", "/differences/a/b/c", "/static/none.css"):
        for lang, told in (("zh", "没有这一项，或您的账号无权查看。"), ("en", "There is no such thing, or it is not")):
            for client in (public, viewer):
                reply = client.get(f"{path}?lang={lang}", **html)
                assert reply.status_code == 404 and told in reply.text and reply.headers["Content-Language"] == lang, path
                assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
                assert ("/logout" in reply.text) == (client is viewer), path
            # What names the reader is kept by no cache.
            assert reply.headers["Cache-Control"] == "no-store"
    reply = viewer.get("/logout?lang=zh", **html)
    assert reply.status_code == 405 and "没有这一项" in reply.text and "POST" in reply.headers["Allow"]
    # A program gets what it got before, and partners' paths their JSON whatever they ask for.
    assert "<main" not in public.get("/nope", headers={"Accept": "*/*"}, **HOST).text
    for path in ("/v1/nope", "/v1/docs/nope", "/ledger/nope"):
        assert "<main" not in public.get(path, **html).text, path
    assert public.get("/v1/nope", **html).json["error"]


def test_what_is_not_there_is_said_in_the_readers_language(town: Any) -> None:
    client = signed_in(town.hub.web().test_client(), "viewer", **HOST)
    paths = ("/agreements/nope", "/differences/nope", "/jurisdictions/9", "/nights/pair/1999-01-01", "/records/case/1/x")
    for path in paths:
        reply = client.get(f"{path}?lang=zh", **HOST)
        assert reply.status_code == 404 and "没有这一项，或您的账号无权查看。" in reply.text, path
