"""A console on whatever status it is given, with accounts in a store of their own, one for each role."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import StrictUndefined

from hub.accounts import ROLES, Accounts
from hub.keys import Vault
from hub.store.base import Account, Store
from hub.store.sqlite import SqliteStore
from hub.web.console import add_console
from hub.web.page import Rooms

PASSWORD = "correct horse battery staple"
Tell = Callable[[], dict[str, Any]]


def console_app(status: dict[str, Any] | Tell, *, healthy: bool = True, **more: Any) -> Flask:
    """An application with the console alone, open to everybody unless told; an undefined name in a template is an error."""
    app = Flask("test", static_folder=None)
    app.testing = True
    app.jinja_env.undefined = StrictUndefined
    give = status if callable(status) else lambda: status

    def frame() -> dict[str, Any]:
        return {name: give()[name] for name in ("hub", "as_of")}

    verdict = (healthy, "ok" if healthy else "head file behind")
    add_console(app, Rooms(frame, lambda agreements: give(), lambda: verdict, **{"is_open": True} | more))
    return app


def people(folder: Path, now: Callable[[], datetime], **more: Any) -> Accounts:
    """Accounts named like their roles, all with PASSWORD."""
    store = SqliteStore(folder / "people.db", Vault(bytes(32)))
    enrol(store, **more)
    return Accounts(store, now)


def enrol(store: Store, *others: Account, **more: Any) -> None:
    """Put accounts named like their roles into a store, and others, all with PASSWORD."""
    with store.transaction():
        for account in (*(Account(role, "", role, **more) for role in ROLES), *others):
            store.put_account(replace(account, password=_hashed()))


@cache
def _hashed() -> str:
    return PasswordHasher().hash(PASSWORD)


def form_of(page: str) -> str:
    """What the page's forms carry."""
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found
    return found[1]


def signed_in(client: FlaskClient, name: str, password: str = PASSWORD, **how: Any) -> FlaskClient:
    """The client, after a login that succeeded; `how` is of its requests."""
    form = form_of(client.get("/login", **how).text)
    reply = client.post("/login", data={"form": form, "name": name, "password": password}, **how)
    assert reply.status_code == 303
    return client
