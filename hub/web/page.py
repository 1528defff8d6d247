"""What every page of the console needs: the rooms behind it, the reader's language, the frame around it.

Rule 1. The one cookie here holds a language. Rule 2. A list is shown whole, or in pages that say how many there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple, Protocol, TypeVar

import flask

from hub.accounts import Accounts
from hub.announce import Version
from hub.book import Book
from hub.decisions import Worklist
from hub.framework import Framework
from hub.kinds import Kind
from hub.oidc import Provider
from hub.records import Records
from hub.store.base import Account, Night
from hub.web.words import LANGUAGES, Words, look

LANGUAGE = "lang"
Room = TypeVar("Room")
ROWS = 50


class ReportsLike(Protocol):
    """A night's report by agreement and night, and what its figures are called."""

    def __call__(self, agreement: str, night: str) -> dict[str, Any]: ...
    def label(self, name: str, lang: str) -> str: ...
    def month(self, agreement: str, first: date) -> dict[str, Night]: ...


class JurisdictionsLike(Protocol):
    """One jurisdiction as an account finds it, how far a read of it is, and what a coordinator does there."""

    def __call__(self, account: Account, code: str) -> dict[str, Any]: ...
    def progress(self, account: Account, code: str) -> dict[str, Any]: ...
    def sync(self, account: Account, code: str) -> None: ...
    def pause(self, account: Account, code: str, reason: str, until: str) -> None: ...
    def resume(self, account: Account, code: str) -> None: ...


@dataclass(frozen=True)
class Rooms:
    """What the console shows and does; every rule is behind it.

    `frame` gives what stands around every page (hub and as_of); `status` the one status dict, narrowed to some agreements
    or whole; `healthy` the verdict of /healthz and one plain line about it. `is_open` shows the overview to everybody,
    `tiles_open` says that the ledger's tiles are shown so, `secure` that readers come by TLS. Without `accounts` nobody can
    sign in, and only what is open is there.
    """

    frame: Callable[[], dict[str, Any]]
    status: Callable[[Sequence[str]], dict[str, Any]]
    healthy: Callable[[], tuple[bool, str]]
    reports: ReportsLike | None = None
    accounts: Accounts | None = None
    worklist: Worklist | None = None
    book: Book | None = None
    framework: Callable[[], Framework] | None = None
    versions: Callable[[str], list[Version]] | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    provider: Provider | None = None
    jurisdictions: JurisdictionsLike | None = None
    records: Records | None = None
    is_open: bool = False
    tiles_open: bool = False
    secure: bool = False


def rooms() -> Rooms:
    """The rooms behind the application that answers now."""
    found: Rooms = flask.current_app.extensions["console"]
    return found


def there(room: Room | None) -> Room:
    """A room that this hub has; one that it has not is no page."""
    if room is None:
        flask.abort(404)
    return room


def me() -> Account | None:
    """The account that asks, or None for the public."""
    account: Account | None = flask.g.get("account")
    return account


def mine() -> Account:
    """The account that asks; only behind a door that lets no one else in."""
    account = me()
    assert account is not None
    return account


def status() -> dict[str, Any]:
    """The status as the reader may see it; accounts' names are for those who have one."""
    account = me()
    told = rooms().status(account.agreements if account else ())
    if account is None:
        rows = told["jurisdictions"]
        told = told | {"jurisdictions": [row | {"paused": row["paused"] and row["paused"] | {"who": None}} for row in rows]}
    return told


def language() -> str:
    """Asked for, remembered, or preferred; Chinese unless told."""
    request = flask.request
    for wish in (request.args.get("lang"), request.cookies.get(LANGUAGE)):
        if wish in LANGUAGES:
            return wish
    wishes = (tag.lower().partition("-")[0] for tag in request.accept_languages.values())
    return next((wish for wish in wishes if wish in LANGUAGES), "zh")


def frame() -> dict[str, Any]:
    """What stands around every page, told without reading how things stand."""
    return rooms().frame()


def words(now: dict[str, Any]) -> Words:
    """The reader's words at the moment of a status or frame."""
    return Words(language(), now["hub"]["time_zone"], now["as_of"])


def city_name(code: str) -> Mapping[str, str]:
    """What a jurisdiction is called; by its code where the framework does not know it."""
    framework = rooms().framework
    found = framework().members.get(code) if framework else None
    return found.name if found else {"zh": code, "en": code}


def kind_word(said: Words, kind: str) -> str:
    """What a kind, or what stands in a kind's place (a quarantine, a copy), is called."""
    known = rooms().kinds.get(kind)
    return said.of(known.label) if known else said.word("thing", kind)


def page(template: str, now: dict[str, Any], http: int = 200, **values: Any) -> flask.Response:
    """A page in the reader's language, which is remembered where it was asked for; `now` is a status or frame."""
    request, lang = flask.request, language()
    text = flask.render_template(template, s=now, w=words(now), look=look, me=me(), here=_here, **values)
    reply = flask.make_response(text, http)
    reply.headers["Content-Language"] = lang
    reply.vary.update(("Accept-Language", "Cookie"))
    if request.args.get("lang") == lang:
        reply.set_cookie(LANGUAGE, lang, max_age=31536000, samesite="Lax", httponly=True, secure=rooms().secure)
    return reply


def _here(**change: str | None) -> str:
    """The address of this page with some of its query changed, or taken away by None."""
    args = {**flask.request.args.to_dict(), **(flask.request.view_args or {}), **change}
    endpoint = flask.request.endpoint or "console.overview"
    return flask.url_for(endpoint, **{name: value for name, value in args.items() if value is not None})


class Sheet(NamedTuple):
    """One page of a list: its rows, how many there are in all, and the numbers of this page and the last."""

    rows: Sequence[Any]
    total: int
    number: int
    last: int


def sheet(found: Sequence[Any]) -> Sheet:
    """The page of a list that the reader asked for; the nearest there is."""
    last = max(1, -(-len(found) // ROWS))
    number = min(max(1, flask.request.args.get("page", 1, type=int)), last)
    return Sheet(found[(number - 1) * ROWS : number * ROWS], len(found), number, last)
