"""Commands on keys: make, list, pin, hand over, rotate, revoke, export; a private key is never printed."""

import json
import secrets as random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hub import app, pins
from hub import partner as node_room
from hub.cli.base import (
    as_json,
    config_option,
    data_option,
    loaded,
    main,
    node_ring,
    opened_hub,
    out,
    pin_lines,
    print_rows,
    say,
    say_rotated,
    sm2_option,
    void_option,
)
from hub.keys import ROLES, SM2_ROLE, KeyEnd, KeyInfo, KeyRing, end_of, list_keys, write_private


@main.group("keys")
def keys_group() -> None:
    """Make and show keys 密钥."""


@keys_group.command("init")
@data_option
@config_option
@as_json
def keys_init(data: Path | None, config: Path, json_: bool) -> None:
    """Make the hub's keys (once; what is there stays), and the passphrase file where the configuration names one."""
    settings = loaded(config, data)
    reference = settings.hub.passphrase
    if reference.startswith("file:") and not (settings.folder / reference[5:]).exists():
        write_private(settings.folder / reference[5:], random.token_urlsafe(32).encode())
    folder = settings.hub.data / "keys"
    app.make_keys(settings, folder, settings.secret(reference), app.clock(settings)())
    found = [asdict(info) for info in list_keys(folder)]
    say(
        {"keys": found},
        json_,
        lambda: out.print(f"{len(found)} keys in {folder}; move {folder}/next to offline storage"),
    )


@keys_group.command("list")
@data_option
@config_option
@as_json
def keys_list(data: Path | None, config: Path, json_: bool) -> None:
    """List each key: role (ledger, batch, http, witness), owner, vkey, since when it is in force, its last day and days left.

    Keys that lie here, and the HTTP keys that framework.yaml gives a last day.
    """
    settings = loaded(config, data)
    folder, today = settings.hub.data, app.clock(settings)().date()
    found = []
    for info in (info for home in [folder, *sorted(folder.glob("node-*"))] for info in list_keys(home / "keys")):
        signs = info.role in ("batch", SM2_ROLE) and info.state == "current"
        end = end_of(info.owner, info.role, info.vkey, info.since, settings.hub.key_age, today) if signs else None
        found.append(asdict(info) | _ending(end))
    for each in settings.http_ends(today, every=True):
        found.append(asdict(KeyInfo("", each.owner, each.role, each.key, "pinned")) | _ending(each))

    def lines() -> None:
        blank = {"days_left": ""}
        shown = [row | {"since": row["since"][:10]} | (blank if row["days_left"] is None else {}) for row in found]
        print_rows(shown, ("role", "owner", "state", "vkey", "since", "expires", "days_left"))

    say({"keys": found}, json_, lines)


def _ending(end: KeyEnd | None) -> dict[str, Any]:
    return {"expires": end.last.isoformat() if end else "", "days_left": end.left if end else None}


@keys_group.command("new")
@click.argument("role", type=click.Choice([role for role in ROLES if role != SM2_ROLE]))
@click.argument("owner")
@click.option("--passphrase", default=None, help="Reference to the passphrase of a node's keys (env:CROSSREGION_PASSPHRASE).")
@data_option
@config_option
@as_json
def keys_new(role: str, owner: str, passphrase: str | None, data: Path | None, config: Path, json_: bool) -> None:
    """Make a missing key, overwriting none: at the hub that of a city new in its custody, on a node a next HTTP key."""
    settings = loaded(config, data)
    folder, now = settings.hub.data, app.clock(settings)
    if (folder / "node.json").exists():
        vkey = node_room.new_key(folder, node_ring(folder, passphrase or "env:CROSSREGION_PASSPHRASE"), role, owner, now)
        more = f"; {folder / node_room.ANNOUNCEMENT} tells it to the hub's operator, who runs `keys pin`"
    else:
        ring = KeyRing(folder / "keys", settings.secret(passphrase or settings.hub.passphrase))
        vkey, more = app.new_key(settings, folder, ring, role, owner, now()), ""
    found = {"role": role, "owner": owner, "vkey": vkey}
    say(found, json_, lambda: out.print(f"{vkey}{more}", markup=False, highlight=False, soft_wrap=True))


@keys_group.command("pin")
@click.argument("announcement", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
@config_option
@as_json
def keys_pin(announcement: Path, data: Path | None, config: Path, json_: bool) -> None:
    """Check a city's announcement.json and print the lines of framework.yaml that pin its keys; nothing is written.

    Compare first_key with the city by telephone: the file proves that one hand made it, not whose.
    """
    with announcement.open("rb") as file:
        raw = file.read(pins.MOST + 1)
    with opened_hub(loaded(config, data)) as hub:
        found = hub.announced(raw)
        told = pin_lines(found, hub.settings)
    say(found.plain(), json_, lambda: out.print(told, markup=False, highlight=False, soft_wrap=True))


@keys_group.command("card")
@click.option("--url", default=None, help="The URL partners call (public_url unless told).")
@data_option
@config_option
def keys_card(url: str | None, data: Path | None, config: Path) -> None:
    """Print the connection card that a partner's `partner init` takes; nothing in it is secret."""
    settings = loaded(config, data)
    found = app.card(settings, settings.hub.data / "keys", url or app.public_url(settings.hub))
    click.echo(json.dumps(asdict(found), indent=1))


@keys_group.command("rotate")
@click.argument("origin")
@void_option
@sm2_option
@data_option
@config_option
@as_json
def keys_rotate(
    origin: str, void_from: int | None, second: bool | None, data: Path | None, config: Path, json_: bool
) -> None:
    """Bring an origin's next key into force; its folder keys/next must be back from where it is kept. Safe to repeat."""
    with opened_hub(loaded(config, data)) as hub:
        found = {"origin": origin, "vkey": hub.rotate(origin, void_from or 0, second)}
    say_rotated(found, json_)


@keys_group.command("hand-over")
@click.argument("origin")
@click.option("--to", "vkey", required=True, help="The batch key of the city's node (its `partner init` prints it).")
@click.option("--out", "path", type=click.Path(path_type=Path), required=True, help="The file for the city; it is secret.")
@data_option
@config_option
def keys_hand_over(origin: str, vkey: str, path: Path, data: Path | None, config: Path) -> None:
    """Give a city in the hub's custody its chain: announce its key, and write what its node goes on with."""
    with opened_hub(loaded(config, data)) as hub:
        found = hub.hand_over(origin, vkey)
        write_private(path, json.dumps(found, indent=1).encode())
    out.print(
        f"{path}: bring it to the city by a way nobody else reads. Then, in framework.yaml, {origin}: custody: self, "
        f"first_key: {found['first_key']}, and its http_keys; restart `serve`; the city pulls and runs `partner take-over`.",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


@keys_group.command("revoke")
@click.argument("key")
@click.option("--reason", type=click.Choice(["stolen", "lost", "replaced", "left"]), required=True)
@data_option
@config_option
def keys_revoke(key: str, reason: str, data: Path | None, config: Path) -> None:
    """Refuse a member's HTTP key (name+id, or its vkey) from the next request on, also in a hub that runs."""
    with opened_hub(loaded(config, data)) as hub:
        hub.revoke(key, reason)
    out.print(f"{key} is refused from now on; take it out of framework.yaml too", markup=False, highlight=False, soft_wrap=True)


@keys_group.command("export")
@data_option
@config_option
def keys_export(data: Path | None, config: Path) -> None:
    """Print the trust file that evidence is verified against: ledger key, witnesses, first keys; nothing in it is secret."""
    with opened_hub(loaded(config, data)) as hub:
        click.echo(hub.trust_file().dump())
