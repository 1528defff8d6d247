"""Commands on who may use the console; a password comes by prompt or reference and never on the command line."""

import getpass
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hub import accounts, app
from hub.cli.base import as_json, config_option, data_option, known_name, loaded, main, opened_hub, out, print_rows, say
from hub.errors import ConfigError
from hub.settings import Settings
from hub.store.base import Account


@main.group("users")
def users_group() -> None:
    """Say who may use the console 账号: add, list, change, password."""


_ROLE = click.Choice(accounts.ROLES)
_agreement = click.option("--agreement", "agreements", multiple=True, help="Works in this agreement alone (repeatable).")
_jurisdiction = click.option(
    "--jurisdiction", "jurisdictions", multiple=True,
    help="Works for this jurisdiction, and sees what it may see (repeatable).",
)  # fmt: skip
_password = click.option("--password", "reference", default=None, help="env:NAME or file:PATH; asked for without it.")


def _new_password(reference: str | None, settings: Settings) -> str:
    if reference is not None:
        return settings.secret(reference)
    return str(click.prompt("Password 口令", hide_input=True, confirmation_prompt=True, err=True))


def _operator() -> str:
    return f"operator {getpass.getuser()}"


def _known_scope(hub: app.Hub, agreements: Iterable[str], jurisdictions: Iterable[str]) -> None:
    for name in agreements:
        known_name("--agreement", name, hub.framework.agreements)
    for code in jurisdictions:
        known_name("--jurisdiction", code, hub.framework.members)


@users_group.command("add")
@click.argument("name")
@click.option("--role", type=_ROLE, required=True)
@click.option("--person", default="", help="The person's name, as the console shows it.")
@_agreement
@_jurisdiction
@_password
@data_option
@config_option
@as_json
def users_add(
    name: str, role: str, person: str, agreements: tuple[str, ...], jurisdictions: tuple[str, ...], reference: str | None,
    data: Path | None, config: Path, json_: bool,
) -> None:  # fmt: skip
    """Make an account for the console."""
    settings = loaded(config, data)
    with opened_hub(settings) as hub:
        _known_scope(hub, agreements, jurisdictions)
        made = hub.accounts.add(
            name, _new_password(reference, settings), role, person=person, agreements=agreements,
            jurisdictions=jurisdictions, who=_operator(),
        )  # fmt: skip
    say(_account(made), json_, lambda: out.print(f"{name} may sign in as {role}", markup=False, highlight=False))


def _account(row: Account) -> dict[str, Any]:
    """An account for people and programs: nothing of its password."""
    return {name: value for name, value in asdict(row).items() if name not in ("password", "failures", "wait_until")}


@users_group.command("list")
@data_option
@config_option
@as_json
def users_list(data: Path | None, config: Path, json_: bool) -> None:
    """List the accounts."""
    with opened_hub(loaded(config, data)) as hub:
        rows = [_account(row) for row in hub.accounts.all()]
    plain = [{k: " ".join(v) if isinstance(v, tuple) else v for k, v in row.items()} for row in rows]
    names = ("name", "person", "role", "agreements", "jurisdictions", "blocked", "created")
    say({"accounts": rows}, json_, lambda: print_rows(plain, names))


@users_group.command("change")
@click.argument("name")
@click.option("--role", type=_ROLE, default=None)
@click.option("--person", default=None)
@_agreement
@_jurisdiction
@click.option("--everywhere", is_flag=True, help="Works in every agreement, for no jurisdiction, unless given here.")
@click.option("--block/--unblock", "blocked", default=None, help="May not, or may again, sign in.")
@data_option
@config_option
@as_json
def users_change(
    name: str, role: str | None, person: str | None, agreements: tuple[str, ...], jurisdictions: tuple[str, ...],
    everywhere: bool, blocked: bool | None, data: Path | None, config: Path, json_: bool,
) -> None:  # fmt: skip
    """Change an account; its sessions end, so that the change holds at once."""
    given: dict[str, Any] = {"role": role, "person": person, "blocked": blocked}
    what = {key: value for key, value in given.items() if value is not None}
    what |= {"agreements": agreements} if agreements or everywhere else {}
    what |= {"jurisdictions": jurisdictions} if jurisdictions or everywhere else {}
    if not what:
        raise ConfigError(["nothing to change; see `users change --help`"])
    with opened_hub(loaded(config, data)) as hub:
        _known_scope(hub, agreements, jurisdictions)
        changed = hub.accounts.change(name, _operator(), **what)
    told = f"{name}: {', '.join(sorted(what))} changed"
    say(_account(changed), json_, lambda: out.print(told, markup=False, highlight=False))


@users_group.command("password")
@click.argument("name")
@_password
@data_option
@config_option
def users_password(name: str, reference: str | None, data: Path | None, config: Path) -> None:
    """Give an account another password; its sessions end."""
    settings = loaded(config, data)
    with opened_hub(settings) as hub:
        hub.accounts.find(name)
        hub.accounts.set_password(name, _new_password(reference, settings), _operator())
    out.print(f"{name} has another password", markup=False, highlight=False)
