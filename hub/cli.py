"""The commands; they parse, call one room and print, and hold no rule of their own.

`--json` prints one object on stdout; progress goes to stderr. Exit codes: 0 ok, 1 failed, 2 usage or configuration,
3 partial, 4 ran well and differences were found, 5 ledger tampering, 6 peer unreachable, 7 signature or key refused,
11 locked.
"""

import getpass
import json
import os
import secrets as random
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import click
from cryptography.x509 import Certificate
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters import declaration as declarations
from adapters.base import SourceError
from adapters.declaration import Declaration, Feed
from adapters.declared import DeclarationError, did_you_mean, read_yaml
from hub import accounts, app, audit, backup, evidence, pins, record
from hub import demo as demonstration
from hub import framework as rules
from hub import partner as node_room
from hub import settings as configuration
from hub.canonical import b64
from hub.errors import ConfigError, HubError, Locked, RecordError, Tampered
from hub.export import export_records, replace_file
from hub.framework import HUB
from hub.intake import Intake, Outcome, Reference
from hub.keys import ROLES, SM2_ROLE, KeyEnd, KeyInfo, KeyRing, end_of, list_keys, write_private
from hub.ledger import Pin
from hub.note import parse_vkey
from hub.partner import Card, Node, NodeFile
from hub.pauses import REASONS
from hub.reconcile import worklist
from hub.reconcile.deadlines import STATES, due_list, working_days
from hub.reports import csv_of, table, xlsx_of
from hub.settings import Settings
from hub.store.base import Account
from hub.timestamp import read_roots
from hub.watch import Watch
from hub.web.witness import create_witness
from hub.wire import OpenLedger, ask_timestamp
from hub.witness import Policy, check_fork
from hub.workshop import collect_rarely

ROOT = Path(__file__).resolve().parent.parent
err = Console(stderr=True)
out = Console()

as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object on stdout.")
config_option = click.option(
    "--config", "config", type=click.Path(path_type=Path), default=ROOT / "config", show_default="config/",
    help="The configuration folder.",
)  # fmt: skip
# A record's id may begin with a dash.
DASHED = {"ignore_unknown_options": True}
data_option = click.option("--data", type=click.Path(path_type=Path), default=None, help="The data folder.")
tsa_option = click.option(
    "--tsa", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=None,
    help="PEM of the authorities (RFC 3161) whose timestamps are believed.",
)  # fmt: skip
files_argument = click.argument(
    "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, metavar="[FILE]..."
)
brought_argument = click.argument(
    "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True, metavar="FILE..."
)
folder_option = click.option(
    "--files", "folder", type=click.Path(file_okay=False, path_type=Path), default=None,
    help="A folder to write the record's attachments into, each under its SHA-256.",
)  # fmt: skip
stamp_option = click.option(
    "--timestamp", "stamp", metavar="URL", default=None, help="Have this authority (RFC 3161) stamp the bundle's checkpoint."
)


def say(value: Mapping[str, Any], json_: bool, lines: Callable[[], None]) -> None:
    """One JSON object, or lines for a person."""
    if json_:
        click.echo(json.dumps(value, ensure_ascii=False))
    else:
        lines()


class Commands(click.Group):
    """Commands whose errors end in a line for a person and the exit code of their class."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            super().main(*args, **kwargs)
        except DeclarationError as error:
            err.print("\n".join(error.problems), markup=False, highlight=False, soft_wrap=True)
            sys.exit(2)
        except SourceError as error:
            err.print(str(error), markup=False, highlight=False, soft_wrap=True)
            sys.exit(1)
        except HubError as error:
            err.print(str(error), markup=False, highlight=False, soft_wrap=True)
            sys.exit(error.exit_code)
        except OSError as error:
            err.print(
                f"{error.filename or 'system'}: {error.strerror or type(error).__name__}", markup=False, highlight=False
            )
            sys.exit(1)
        sys.exit(0)


@click.group(cls=Commands)
@click.version_option(package_name="crossregion-sync-hub")
def main() -> None:
    """Crossregion Sync Hub 跨区域协作数据同步枢纽: one shared ledger of signed enforcement records."""
    collect_rarely()


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str, str, int], None] | None]:
    """A line per feed on stderr, with the rows read so far."""
    if quiet or (not err.is_terminal and not os.environ.get("FORCE_COLOR")):
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        tasks: dict[tuple[str, str], Any] = {}

        def show(code: str, feed: str, read: int) -> None:
            if (code, feed) not in tasks:
                tasks[code, feed] = bar.add_task(f"{code} {feed}", total=None)
            bar.update(tasks[code, feed], completed=read)

        yield show
        for task in bar.tasks:
            bar.update(task.id, total=max(task.completed, 1), completed=max(task.completed, 1))


def wait_for_stop() -> None:
    """Return on Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()


# --- demo and serve ---


@main.command()
@click.option("--once", is_flag=True, help="Do the job and end, without serving.")
@click.option(
    "--size",
    type=click.IntRange(1, 100_000),
    default=None,
    help="Records per feed in the sample cities (60 in a new folder).",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=8470, show_default=True, help="0 takes any free port.")
@data_option
@config_option
@as_json
def demo(once: bool, size: int | None, host: str, port: int, data: Path | None, config: Path, json_: bool) -> None:
    """Run the main job on ten sample cities and serve the status page 演示."""
    settings = configuration.load(config)
    port = 0 if once and port == 8470 else port
    with demonstration.opened(settings, data or ROOT / "var" / "demo", host, port, size=size) as running:
        with progress_bar(json_) as progress:
            done = running.start(progress)
        say(done, json_, lambda: _demo_table(done))
        if not once:
            err.print(f"\n状态页 status page: {running.hub.url}/   (Ctrl-C stops)")
            told = f"登录 sign in: {demonstration.ACCOUNT} · {running.password}"
            err.print(told, markup=False, highlight=False)
            wait_for_stop()
            err.print("stopping …")


def _demo_table(done: Mapping[str, Any]) -> None:
    table = Table(title="跨区域协作数据同步枢纽 · 演示 demo")
    for head in ("辖区 jurisdiction", "读取 read", "入账 stored", "未变 unchanged", "隔离 quarantined", "签名 custody"):
        table.add_column(head, justify="left" if "辖区" in head or "签名" in head else "right")
    for row in done["jurisdictions"]:
        custody = {"custodial": "枢纽代签 hub", "self": "自签 own node"}[row["custody"]]
        table.add_row(f"{row['name']} {row['code']}", str(row["read"]), str(row["stored"]), str(row["unchanged"]),
                      str(row["quarantined"]), custody)  # fmt: skip
    out.print(table)
    ledger = done["ledger"]
    out.print(f"账本 ledger: {ledger['size']} entries, root {ledger['root']}", highlight=False)
    out.print(f"差异 open differences: {done['differences']} · {done['seconds']} s", highlight=False)
    for code, copy in done["partner_copies"].items():
        out.print(f"{code} 副本 copy: {copy['size']} entries verified, root {copy['root']}", highlight=False)


@main.command()
@click.option("--host", default=None, help="Address to listen on (hub.yaml's, 127.0.0.1 unless told).")
@click.option("--port", type=click.IntRange(0, 65_535), default=None)
@data_option
@config_option
def serve(host: str | None, port: int | None, data: Path | None, config: Path) -> None:
    """Run the hub on the operator's configuration: web, scheduled pulls and nights."""
    settings = app.with_data(configuration.load(config), data, host, port)
    app.refuse_other_purpose(settings.hub.data, False)
    app.refuse_open_http(settings.hub)
    bound = app.bind(settings.hub.host, settings.hub.port)
    hub = start_hub(settings, port=bound.getsockname()[1])
    hub.announce()
    hub.workshop.warm()
    server = app.Server(hub.web(), bound, hub.tick, proxied=hub.url.startswith("https://"))
    server.start()
    err.print(
        f"{hub.url}/ — pulls {len(hub.sources())} jurisdictions, ledger of {hub.store.size()} entries (Ctrl-C stops)"
    )
    if not hub.accounts.all():
        err.print("no account yet: `users add NAME --role administrator` makes the first", markup=False, highlight=False)
    wait_for_stop()
    hub.stopping.set()
    server.stop()
    hub.close()


def start_hub(settings: Settings, port: int | None = None) -> app.Hub:
    """The hub of a data folder, with the passphrase its configuration refers to."""
    folder = settings.hub.data
    app.refuse_other_purpose(folder, False)
    if not (folder / "keys" / f"ledger.{HUB}.key").exists():
        raise ConfigError([f"{folder}/keys: this hub has no keys yet; run `python3 run.py keys init --data {folder}`"])
    return app.Hub(settings, folder, KeyRing(folder / "keys", settings.secret(settings.hub.passphrase)), port=port)


@contextmanager
def opened_hub(settings: Settings) -> Iterator[app.Hub]:
    """The hub of a data folder; that of a demo comes with its sample cities."""
    if (settings.hub.data / app.MARK).exists():
        with ExitStack() as stack:
            try:
                hub = stack.enter_context(demonstration.opened(settings, settings.hub.data)).hub
            except Locked:
                hub = stack.enter_context(demonstration.beside(settings, settings.hub.data))
            yield hub
        return
    hub = start_hub(settings)
    try:
        yield hub
    finally:
        hub.close()


def loaded(config: Path, data: Path | None) -> Settings:
    return app.with_data(configuration.load(config), data, None, None)


# --- configuration ---


@main.group()
def config() -> None:
    """Look at the configuration 配置."""


@config.command("check")
@config_option
@as_json
def config_check(config: Path, json_: bool) -> None:
    """Report every problem of the configuration at once, with file and line."""
    problems, notes = configuration.check(config)

    def lines() -> None:
        for line in problems:
            err.print(line, markup=False, highlight=False, soft_wrap=True)
        for line in notes:
            out.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)
        if not problems:
            out.print("configuration holds 配置无误")

    say({"problems": problems, "notes": notes}, json_, lines)
    sys.exit(2 if problems else 0)


@main.group("framework")
def framework_group() -> None:
    """Look at the cooperation framework 合作框架."""


@framework_group.command("diff")
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--lang", type=click.Choice(["zh", "en"]), default="zh")
@config_option
@as_json
def framework_diff(old: Path, new: Path | None, lang: str, config: Path, json_: bool) -> None:
    """Say who gains or loses which group between OLD and NEW framework.yaml (NEW: the configured one)."""
    settings = configuration.load(config)
    before, after = (
        rules.parse_framework(read_yaml(path), settings.kinds, settings.deadlines.rules)
        for path in (old, new or config / "framework.yaml")
    )
    changes = rules.diff(before, after, date.today())
    lines = rules.diff_lines(changes, after, lang)
    plain = [{**change._asdict(), "gained": sorted(change.gained), "lost": sorted(change.lost),
              "elsewhere": sorted(change.elsewhere)} for change in changes]  # fmt: skip
    say(
        {"changes": plain},
        json_,
        lambda: out.print("\n".join(lines) or "no change 无变化", markup=False, highlight=False),
    )


# --- keys ---


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
        _print_rows(shown, ("role", "owner", "state", "vkey", "since", "expires", "days_left"))

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
        vkey = node_room.new_key(folder, _ring(folder, passphrase or "env:CROSSREGION_PASSPHRASE"), role, owner, now)
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
        told = _pin_lines(found, hub.settings)
    say(found.plain(), json_, lambda: out.print(told, markup=False, highlight=False, soft_wrap=True))


def _pin_lines(found: pins.Announced, settings: Settings) -> str:
    name = settings.regions.get(found.origin, found.origin)
    lines = pins.block(found, name, settings.framework.members.get(found.origin))
    return f"For the hub's framework.yaml, below `members:` (and {found.origin} into the agreement's own members):\n{lines}"


@keys_group.command("card")
@click.option("--url", default=None, help="The URL partners call (public_url unless told).")
@data_option
@config_option
def keys_card(url: str | None, data: Path | None, config: Path) -> None:
    """Print the connection card that a partner's `partner init` takes; nothing in it is secret."""
    settings = loaded(config, data)
    found = app.card(settings, settings.hub.data / "keys", url or app.public_url(settings.hub))
    click.echo(json.dumps(asdict(found), indent=1))


void_option = click.option(
    "--void-from", type=click.IntRange(2), default=None,
    help="Disown the origin's batches from this seq on: somebody else had its key.",
)  # fmt: skip


sm2_option = click.option(
    "--sm2/--no-sm2", "second", default=None,
    help="Announce an SM2 key beside the next one, or none; it comes into force with the rotation after this one.",
)  # fmt: skip


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
    _say_rotated(found, json_)


def _say_rotated(found: dict[str, Any], json_: bool) -> None:
    line = f"{found['origin']} now signs with {found['vkey']}; take keys/next offline again"
    say(found, json_, lambda: out.print(line, markup=False, highlight=False, soft_wrap=True))


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


def _print_problems(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["problem"]:
            out.print(f"{row['code']} {row['feed']}: {row['problem']}", markup=False, highlight=False, soft_wrap=True)


def _print_rows(rows: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    table = Table()
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    out.print(table)


# --- adapters ---


@main.group("adapters")
def adapters_group() -> None:
    """Check, preview and compare the cities' declarations 适配器."""


def _declaration(settings: Settings, code: str) -> Declaration:
    found = settings.declarations.get(code)
    if found is None:
        raise ConfigError([f"no declaration for {code}; known: {', '.join(sorted(settings.declarations))}"])
    return found


@adapters_group.command("check")
@click.argument("codes", nargs=-1)
@config_option
@as_json
def adapters_check(codes: tuple[str, ...], config: Path, json_: bool) -> None:
    """Lint declarations offline, each against its sample (all unless told)."""
    settings = configuration.load(config)
    fields = {name: list(kind.fields) for name, kind in settings.kinds.items()}
    problems, feeds = [], []
    for code in codes or sorted(settings.declarations):
        declaration = _declaration(settings, code)
        problems += declarations.lint(declaration, fields)
        for feed in declaration.feeds:
            found = _sample_counts(settings, feed)
            feeds.append({"code": code, "feed": feed.name} | found)
            if found["rows"] and not found["records"]:
                problems.append(f"{code} {feed.name}: no row of the sample becomes a record: {found['first_problem']}")

    def lines() -> None:
        _print_rows(feeds, ("code", "feed", "rows", "records", "quarantined"))
        for problem in problems:
            err.print(problem, markup=False, highlight=False, soft_wrap=True)
        if not problems:
            out.print(f"{len({row['code'] for row in feeds})} declarations hold 适配声明无误")

    say({"checked": len(codes or settings.declarations), "feeds": feeds, "problems": problems}, json_, lines)
    sys.exit(2 if problems else 0)


def _sample_counts(settings: Settings, feed: Feed) -> dict[str, Any]:
    """How many rows of a feed's sample become records, and why the first other one does not."""
    counts: dict[str, Any] = {"rows": 0, "records": 0, "quarantined": 0, "first_problem": ""}
    try:
        for shown in _previewed(settings, feed, None):
            counts["rows"] += 1
            counts["quarantined" if "quarantined" in shown else "records"] += 1
            counts["first_problem"] = counts["first_problem"] or shown.get("quarantined", "")
    except (SourceError, DeclarationError, OSError) as error:
        counts["first_problem"] = str(error)
    return counts


@adapters_group.command("preview")
@click.argument("code")
@click.option("--feed", default=None)
@click.option("--rows", default=3, show_default=True)
@config_option
@as_json
def adapters_preview(code: str, feed: str | None, rows: int, config: Path, json_: bool) -> None:
    """Show rows of a city's sample and the records they become, sealed groups masked."""
    settings = configuration.load(config)
    shown = []
    feeds = _declaration(settings, code).feeds
    if feed not in (None, *(each.name for each in feeds)):
        raise ConfigError([f"{code} has no feed {feed}; known: {', '.join(each.name for each in feeds)}"])
    for each in feeds:
        if feed in (None, each.name):
            shown += list(_previewed(settings, each, rows))

    def lines() -> None:
        for row in shown:
            out.print_json(json.dumps(row, ensure_ascii=False))

    say({"rows": shown}, json_, lines)


def _previewed(settings: Settings, feed: Feed, limit: int | None) -> Iterator[dict[str, Any]]:
    mapper, kind = feed.mapper(), settings.kinds[feed.kind]
    for page in feed.sample_source().pages(None):
        for row in page.rows[:limit]:
            shown: dict[str, Any] = {"feed": feed.name, "where": row.where, "columns": sorted(map(str, row.data))}
            try:
                mapped = mapper(row)
                kind.accept(mapped.body)
                shown |= {"origin": mapped.origin, "record": kind.masked(mapped.body)}
            except (SourceError, HubError) as error:
                shown["quarantined"] = str(error)
            yield shown
        if limit is not None:
            return


@adapters_group.command("diff")
@click.argument("code")
@click.option("--with", "changed", type=click.Path(exists=True, path_type=Path), default=None,
              help="The changed declaration (the configured one unless told).")  # fmt: skip
@data_option
@config_option
@as_json
def adapters_diff(code: str, changed: Path | None, data: Path | None, config: Path, json_: bool) -> None:
    """Count what a changed declaration would revise, before anything is signed: the source is read, nothing is stored."""
    settings = loaded(config, data)
    declaration = declarations.load(changed) if changed else _declaration(settings, code)
    with opened_hub(settings) as hub:
        counts = hub.trial(declaration)
    say(
        {"feeds": counts},
        json_,
        lambda: _print_rows(counts, ("feed", "read", "new", "revised", "unchanged", "refused", "absent")),
    )


# --- the running hub's work by hand ---


@main.command()
@click.argument("codes", nargs=-1)
@click.option("--full", is_flag=True, help="Read the whole range, not from the cursor.")
@data_option
@config_option
@as_json
def pull(codes: tuple[str, ...], full: bool, data: Path | None, config: Path, json_: bool) -> None:
    """Pull jurisdictions now (all of the hub's own unless told)."""
    settings = loaded(config, data)
    with opened_hub(settings) as hub:
        pulled = {each.code for each in hub.sources()}
        for code in codes:
            if _declaration(settings, code).code not in pulled:
                raise ConfigError([f"{code} signs for itself: its own node pulls it with `partner collect`"])
        wanted = [_declaration(settings, code) for code in codes] or hub.awake()
        with progress_bar(json_) as progress:
            outcomes = [
                outcome for each in wanted for outcome in hub.pull(each, who="operator", full=full, progress=progress)
            ]
    _tell_pulls(outcomes, json_)


def _tell_pulls(outcomes: list[Outcome], json_: bool) -> None:
    rows = [asdict(outcome.pull) for outcome in outcomes]
    names = ("code", "feed", "state", "read", "stored", "unchanged", "retracted", "quarantined")

    def lines() -> None:
        _print_rows(rows, names)
        _print_problems(rows)

    say({"pulls": rows}, json_, lines)
    if any(row["state"] != "succeeded" for row in rows):
        sys.exit(3)


as_account = click.option("--as", "who", required=True, help="Your account's name; the journal keeps it.")


@main.command()
@click.argument("code")
@click.option("--reason", type=click.Choice(list(REASONS)), required=True)
@click.option("--until", default="", help="The day on which reading goes on by itself, YYYY-MM-DD.")
@as_account
@data_option
@config_option
@as_json
def pause(code: str, reason: str, until: str, who: str, data: Path | None, config: Path, json_: bool) -> None:
    """Read a jurisdiction no more for a while 暂停: ticks and nights pass over it."""
    with opened_hub(loaded(config, data)) as hub:
        made = hub.pauses.pause(code, reason, who, until)
    ends = f"until {made.until}" if made.until else f"until `resume {code}`"
    said = f"{code} is paused {ends}: {REASONS[reason]['zh']} {REASONS[reason]['en']}"
    say(made._asdict(), json_, lambda: out.print(said, markup=False, highlight=False))


@main.command()
@click.argument("code")
@as_account
@data_option
@config_option
@as_json
def resume(code: str, who: str, data: Path | None, config: Path, json_: bool) -> None:
    """Read a paused jurisdiction again 恢复; the next tick does."""
    with opened_hub(loaded(config, data)) as hub:
        hub.pauses.resume(code, who)
    say({"code": code, "who": who}, json_, lambda: out.print(f"{code} is read again", markup=False, highlight=False))


@main.command()
@click.option("--agreement", default=None)
@click.option("--night", default=None, help="Local date (today unless told).")
@data_option
@config_option
@as_json
def reconcile(agreement: str | None, night: str | None, data: Path | None, config: Path, json_: bool) -> None:
    """Run a night now: compare whole ranges, repair, report. Exit 4 when differences remain."""
    with opened_hub(loaded(config, data)) as hub:
        today = hub.now().date().isoformat()
        day = night or today
        if day > today:
            raise ConfigError([f"--night {day}: that night has not come yet"])
        names = [agreement] if agreement else sorted(hub.framework.agreements)
        with progress_bar(json_) as progress:
            nights = [each for name in names for each in hub.reconcile(name, [day], progress)]
        remaining = len(hub.store.differences())
    rows = [{"agreement": each.agreement, "night": each.night} | dict(each.result) for each in nights]

    def lines() -> None:
        if not rows:
            out.print("nothing to do: this night is committed")
        shown = [row | {"not_compared": ", ".join(row["not_compared"]) or "-"} for row in rows]
        names = ("agreement", "night", "compared", "equal", "repaired", "retracted", "open_differences", "not_compared")
        _print_rows(shown, names)

    say({"nights": rows, "open_differences": remaining}, json_, lines)
    sys.exit(4 if remaining else 0)


# --- the worklist ---


@main.group("differences")
def differences_group() -> None:
    """Work on what nights found and could not settle 差异: list, show, assign, decide."""


who_option = click.option("--as", "who", required=True, help="Your account's name; it stands in the decision.")
lang_option = click.option("--lang", type=click.Choice(["zh", "en"]), default="zh", show_default=True)


@differences_group.command("list")
@click.option("--agreement", default=None)
@click.option("--type", "type_", default=None, help="Only this type.")
@click.option("--state", default=None, help="Only this state (opened, seen, assigned, decided, closed).")
@click.option("--origin", default=None, help="Only those that concern this jurisdiction.")
@click.option("--assigned", default=None, help="Only those assigned to this account.")
@click.option("--closed", is_flag=True, help="Closed ones too.")
@lang_option
@data_option
@config_option
@as_json
def differences_list(
    agreement: str | None, type_: str | None, state: str | None, origin: str | None, assigned: str | None, closed: bool,
    lang: str, data: Path | None, config: Path, json_: bool,
) -> None:  # fmt: skip
    """List differences, gravest first. Exit 4 when open ones are among them."""
    with opened_hub(loaded(config, data)) as hub:
        _known("--type", type_, hub.settings.types)
        _known("--agreement", agreement, hub.framework.agreements)
        _known("--state", state, worklist.STATES)
        found = hub.worklist.rows((agreement,) if agreement else (), closed=closed or state == "closed")
    rows = [
        hub.worklist.told(row)
        for row in found
        if type_ in (None, row.type)
        and state in (None, row.state)
        and assigned in (None, row.assigned)
        and (origin is None or any(ref.origin == origin for ref in row.refs))
    ]

    def lines() -> None:
        for row in rows:
            due = f" · due {row['due']}" if row["due"] else ""
            state = row["state"] + (f" {row['assigned']}" if row["assigned"] else "")
            told = f"{row['identity'][:8]}  {row['severity']:6}  {row['label'][lang]} · {row['origins']}"
            out.print(
                f"{told} · {row['agreement']} since {row['first_night']}{due} · {state}",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
        out.print(f"{len(rows)} differences; `differences show ID` tells all of one", highlight=False)

    say({"differences": rows}, json_, lines)
    sys.exit(4 if any(row["open"] for row in rows) else 0)


def _known(option: str, value: str | None, known: Iterable[str]) -> None:
    if value is not None and value not in known:
        raise ConfigError([f"{option} {value}: {did_you_mean(value, known)}"])


@differences_group.command("show")
@click.argument("identity")
@click.option("--as", "who", default=None, help="Your account's name: notes that you have seen it.")
@lang_option
@data_option
@config_option
@as_json
def differences_show(
    identity: str, who: str | None, lang: str, data: Path | None, config: Path, json_: bool
) -> None:
    """Tell all of one difference: records by reference, what was compared, clause, next step, history."""
    with opened_hub(loaded(config, data)) as hub:
        row = hub.decisions.see(identity, who) if who else hub.decisions.find(identity)
        events = hub.worklist.history(row)
        found = hub.worklist.told(row) | {"history": [event._asdict() for event in events]}
        choices, _ = hub.worklist.choices(row)

    def lines() -> None:
        out.print(f"{found['label'][lang]}  {row.identity}  {row.severity}, {row.state}", markup=False, highlight=False)
        out.print(f"{found['clause'][lang]} → {found['step'][lang]}", markup=False, highlight=False, soft_wrap=True)
        _print_rows(found["refs"], ("origin", "kind", "id", "rev"))
        if found["points"]:
            _print_rows(found["points"], ("field", "verdict", "number", "weight", "score"))
        _print_rows(found["history"], ("at", "who", "step", "code", "reason"))
        told = ", ".join(f"{name} {words[lang]}" for name, words in choices.items())
        out.print(f"decide: {told}", markup=False, highlight=False, soft_wrap=True)

    say(found, json_, lines)


@differences_group.command("assign")
@click.argument("identity")
@click.argument("account")
@who_option
@data_option
@config_option
@as_json
def differences_assign(identity: str, account: str, who: str, data: Path | None, config: Path, json_: bool) -> None:
    """Hand a difference to an account."""
    with opened_hub(loaded(config, data)) as hub:
        row = hub.decisions.assign(identity, account, who)
        found = hub.worklist.told(row)
    say(found, json_, lambda: out.print(f"{row.identity} is {row.assigned}'s", markup=False, highlight=False))


@differences_group.command("decide")
@click.argument("identity")
@click.argument("decision", type=click.Choice(list(worklist.DECISIONS)))
@click.option("--reason", required=True, help="A reason of kinds/decision.yaml, such as checked or joint_task.")
@who_option
@data_option
@config_option
@as_json
def differences_decide(
    identity: str, decision: str, reason: str, who: str, data: Path | None, config: Path, json_: bool
) -> None:
    """Decide a difference with a reason; the decision is signed onto the ledger."""
    with opened_hub(loaded(config, data)) as hub:
        row = hub.decisions.decide(identity, decision, reason, who)
        found = hub.worklist.told(row)
    say(
        found,
        json_,
        lambda: out.print(f"{row.identity}: {decision}, {reason}; the next night verifies it", markup=False, highlight=False),
    )


# --- accounts ---


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
        _known("--agreement", name, hub.framework.agreements)
    for code in jurisdictions:
        _known("--jurisdiction", code, hub.framework.members)


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
    say({"accounts": rows}, json_, lambda: _print_rows(plain, names))


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


@main.command()
@data_option
@config_option
@as_json
def status(data: Path | None, config: Path, json_: bool) -> None:
    """Show how things stand."""
    with opened_hub(loaded(config, data)) as hub:
        found = hub.status()

    def lines() -> None:
        out.print(f"{found['verdict']['zh']} · {found['verdict']['en']}   {found['as_of']}", highlight=False)
        rows = [row | {"name": row["name"]["zh"]} for row in found["jurisdictions"]]
        _print_rows(rows, ("code", "name", "state", "last_success", "records", "quarantined", "differences"))

    say(found, json_, lines)


@main.group("nights")
def nights_group() -> None:
    """Look at nights and their reports 对账报告."""


@nights_group.command("list")
@click.option("--agreement", default=None)
@click.option("--last", type=click.IntRange(1, 10_000), default=30, show_default=True, help="So many of each agreement.")
@data_option
@config_option
@as_json
def nights_list(agreement: str | None, last: int, data: Path | None, config: Path, json_: bool) -> None:
    """List nights, newest first, with what they found; one that runs says how far it is."""
    with opened_hub(loaded(config, data)) as hub:
        _known("--agreement", agreement, hub.framework.agreements)
        names = [agreement] if agreement else sorted(hub.framework.agreements)
        found = [night for name in names for night in hub.store.nights(name, last)]
    rows = [{"agreement": each.agreement, "night": each.night, "state": each.state} | dict(each.result) for each in found]

    def lines() -> None:
        shown = [dict.fromkeys(("compared", "repaired", "open_differences", "overdue"), "") | row for row in rows]
        _print_rows(shown, ("agreement", "night", "state", "compared", "repaired", "open_differences", "overdue"))

    say({"nights": rows}, json_, lines)


@nights_group.command("show")
@click.argument("agreement")
@click.argument("night")
@lang_option
@data_option
@config_option
@as_json
def nights_show(agreement: str, night: str, lang: str, data: Path | None, config: Path, json_: bool) -> None:
    """Show the report of one night, as it was signed."""
    with opened_hub(loaded(config, data)) as hub:
        found = hub.reports(agreement, night)
        rows = table(hub.reports.label, found, lang)

    def lines() -> None:
        for row in rows:
            out.print("  ".join(str(value) for value in row if value != ""), markup=False, highlight=False, soft_wrap=True)

    say(found, json_, lines)


@nights_group.command("export")
@click.argument("agreement")
@click.argument("night")
@click.option("--to", "path", type=click.Path(path_type=Path), required=True, help="A file ending in .csv or .xlsx.")
@lang_option
@data_option
@config_option
def nights_export(agreement: str, night: str, path: Path, lang: str, data: Path | None, config: Path) -> None:
    """Write the report of one night as CSV or as a workbook."""
    if path.suffix not in (".csv", ".xlsx"):
        raise ConfigError([f"--to {path}: expected a file ending in .csv or .xlsx"])
    with opened_hub(loaded(config, data)) as hub:
        rows = table(hub.reports.label, hub.reports(agreement, night), lang)
    replace_file(path, csv_of(rows) if path.suffix == ".csv" else xlsx_of(rows, f"{agreement} {night}"))
    out.print(f"{path}: {len(rows)} rows", markup=False, highlight=False)


@main.command("deadlines")
@click.option("--agency", default=None, help="Only this authority, by its name or credit code.")
@click.option("--region", default=None, help="Only what this jurisdiction has to do.")
@click.option("--state", type=click.Choice(STATES), multiple=True, help="passed and near unless told.")
@lang_option
@data_option
@config_option
@as_json
def deadlines_command(
    agency: str | None, region: str | None, state: tuple[str, ...], lang: str, data: Path | None, config: Path, json_: bool
) -> None:
    """List what each authority has to do and by when, soonest first 期限清单."""
    with opened_hub(loaded(config, data)) as hub:
        _known("--region", region, hub.framework.members)
        zone, now = hub.settings.zone, hub.now()
        lists = due_list(hub.crosscheck.due(now, region), state or ("passed", "near"), agency)
        works = hub.settings.deadlines.calendar.works
    found: list[dict[str, Any]] = []
    for name, rows in lists.items():
        for row in rows:
            rule, day = row.deadline.rule, row.deadline.at.astimezone(zone).date()
            found.append(
                {
                    "agency": name,
                    "region": row.region,
                    "rule": rule.name,
                    "label": dict(rule.label),
                    "law": rule.law + rule.article,
                    "due": row.deadline.day,
                    "state": row.deadline.state,
                    "working_days_left": working_days(now.astimezone(zone).date(), day, works),
                    "calendar_assumed": row.deadline.assumed,
                    "extended": row.deadline.extended,
                    "extended_without_reason": row.deadline.unreasoned,
                    "records": [{"origin": ref.origin, "kind": ref.kind, "id": ref.id} for ref in row.refs],
                }
            )

    def lines() -> None:
        for row in found:
            left = f"{row['working_days_left']:+d} " + {"zh": "工作日", "en": "working days"}[lang]
            told = f"{row['due']} ({left})  {row['state']:7} {row['agency']} · {row['label'][lang]} · {row['law']}"
            where = ", ".join(f"{ref['origin']} {ref['kind']} {ref['id']}" for ref in row["records"])
            more = " (工作日按周推定 calendar assumed)" if row["calendar_assumed"] else ""
            more += " (延期无理由 extended without a reason)" if row["extended_without_reason"] else ""
            out.print(f"{told} · {where}{more}", markup=False, highlight=False, soft_wrap=True)
        out.print(f"{len(found)} deadlines of {len({row['agency'] for row in found})} authorities", highlight=False)

    say({"as_of": now.isoformat(), "deadlines": found}, json_, lines)


# --- audits ---


@main.command()
@data_option
@config_option
@as_json
def fsck(data: Path | None, config: Path, json_: bool) -> None:
    """Hash everything stored again and hold it against entries, head and views."""
    with opened_hub(loaded(config, data)) as hub:
        report = audit.fsck(hub.ledger, hub.settings.kinds, hub.digest_key)
    _tell_report(report, json_)
    sys.exit(5 if report.problems else 0)


def _tell_report(report: audit.Report, json_: bool, **more: Any) -> None:
    def lines() -> None:
        for line in report.proved:
            out.print(f"✓ {line}", markup=False, highlight=False, soft_wrap=True)
        for line in report.unproven:
            out.print(f"? not proven: {line}", markup=False, highlight=False, soft_wrap=True)
        for line in report.problems:
            err.print(f"✗ {line}", markup=False, highlight=False, soft_wrap=True)

    say(asdict(report) | more, json_, lines)


@main.command(context_settings=DASHED)
@click.argument("kind")
@click.argument("origin")
@click.argument("id")
@click.argument("groups", nargs=-1)
@click.option("--whole", is_flag=True, help="The record itself too: only its hashes stay.")
@click.option("--key", is_flag=True, help="ID is the city's own number of the record (parts of a key with commas between).")
@click.option("--reason", required=True, help="request, retention, court or mistake.")
@click.option("--as", "who", default=None, help="Who erases (the system's user unless told).")
@data_option
@config_option
@as_json
def erase(
    kind: str, origin: str, id: str, groups: tuple[str, ...], whole: bool, key: bool, reason: str, who: str | None,
    data: Path | None, config: Path, json_: bool,
) -> None:  # fmt: skip
    """Erase groups of a record here, leave a tombstone on the ledger, and tell every partner. It cannot be undone."""
    with opened_hub(loaded(config, data)) as hub:
        id = hub.id_of(kind, origin, id.split(",")) if key else id
        found = hub.erasures.erase(Reference(origin, kind if "/" in kind else f"{kind}/1", id), groups, reason,
                                   who or getpass.getuser(), whole=whole)  # fmt: skip
    line = f"{', '.join(found['groups'])} of {found['revisions']} revisions erased; `erasures` shows what partners say"
    say(found, json_, lambda: out.print(line, markup=False, highlight=False, soft_wrap=True))


@main.command()
@data_option
@config_option
@as_json
def erasures(data: Path | None, config: Path, json_: bool) -> None:
    """List what was erased, and which partners say that they erased it too (their word, no proof)."""
    with opened_hub(loaded(config, data)) as hub:
        rows = hub.erasures.told()
    say({"erasures": rows}, json_, lambda: _print_rows(
        [{**row, "groups": " ".join(row["groups"]), "said_done": " ".join(row["said_done"]),
          "not_yet": " ".join(row["not_yet"])} for row in rows],
        ("origin", "kind", "id", "groups", "said_done", "not_yet")))  # fmt: skip


@main.group("retention")
def retention_group() -> None:
    """Look at what may be kept no longer 保存期限, and erase it."""


@retention_group.command("due")
@data_option
@config_option
@as_json
def retention_due(data: Path | None, config: Path, json_: bool) -> None:
    """List what the next daily run erases, by the `retention:` of each kind. Erases nothing."""
    with opened_hub(loaded(config, data)) as hub:
        rows = [each.plain() for each in hub.erasures.expired()]
    say({"due": rows}, json_, lambda: _print_rows(
        [{**row, "groups": " ".join(row["groups"])} for row in rows],
        ("origin", "kind", "id", "groups", "kept_until", "reason", "law")))  # fmt: skip


@retention_group.command("run")
@data_option
@config_option
@as_json
def retention_run(data: Path | None, config: Path, json_: bool) -> None:
    """Erase now what `retention due` lists; `serve` does so once a day. It cannot be undone."""
    with opened_hub(loaded(config, data)) as hub:
        count = hub.erasures.expire()
    say({"erased": count}, json_, lambda: out.print(f"{count} records erased; `erasures` shows what partners say"))


@main.command("backup")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="A folder that is not there yet.")
@data_option
@config_option
@as_json
def backup_(folder: Path, data: Path | None, config: Path, json_: bool) -> None:
    """Copy the store, while the hub serves or not. Keys and the head file are kept apart: copy those folders elsewhere too."""
    if folder.exists():
        raise ConfigError([f"--to {folder}: is there already; name a new folder for each backup"])
    with opened_hub(loaded(config, data)) as hub:
        made = backup.make(hub.ledger, folder, hub.now())
    say(asdict(made), json_, lambda: out.print(f"{folder}: {made.size} entries, root {made.root}", highlight=False))


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--head", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=None,
              help="Where the head file was lost: the newest checkpoint that a partner or witness holds.")  # fmt: skip
@data_option
@config_option
@as_json
def restore(folder: Path, head: Path | None, data: Path | None, config: Path, json_: bool) -> None:
    """Bring a backup back and hash all of it; refused (5) where more was published than it holds. The hub must not run."""
    settings = loaded(config, data)
    found = app.restore(settings, folder, head.read_bytes() if head else None,
                        KeyRing(settings.hub.data / "keys", settings.secret(settings.hub.passphrase)))  # fmt: skip
    line = f"restored and verified: {found['size']} entries, {found['records']} records; start `serve` again"
    say(found, json_, lambda: out.print(line, highlight=False))


@main.command()
@data_option
@config_option
@as_json
def rebuild(data: Path | None, config: Path, json_: bool) -> None:
    """Derive every view anew from the entries and records."""
    with opened_hub(loaded(config, data)) as hub:
        report, changed = audit.rebuild(hub.ledger, hub.settings.kinds, hub.digest_key)
    text = f"views that changed: {', '.join(changed)}" if changed else "every view is identical"
    say(
        asdict(report) | {"changed": changed},
        json_,
        lambda: out.print(f"{report.size} entries, {report.records} records; {text}"),
    )


def _stamped(bundle: dict[str, Any], url: str | None, tsa: Path | None) -> dict[str, Any]:
    """A bundle with the timestamp asked for; it stays as it is where none is."""
    if url is None:
        return bundle
    roots = _roots(tsa)
    return evidence.with_timestamp(bundle, lambda request: ask_timestamp(url, request, rooted=roots is not None), roots)


def _roots(tsa: Path | None) -> list[Certificate] | None:
    return read_roots(tsa.read_bytes()) if tsa is not None else None


@main.group("evidence")
def evidence_group() -> None:
    """Evidence of one record 证据: to hand out, to check offline, to print."""


@evidence_group.command("export", context_settings=DASHED)
@click.argument("kind")
@click.argument("origin")
@click.argument("id")
@click.option("--key", is_flag=True, help="ID is the city's own number of the record (parts of a key with commas between).")
@click.option("--groups", default="", help="Sealed groups to disclose, with commas between; none unless told.")
@stamp_option
@tsa_option
@folder_option
@click.option("--out", "path", type=click.Path(path_type=Path), default=None, help="A file; stdout unless told.")
@data_option
@config_option
def evidence_export(
    kind: str, origin: str, id: str, key: bool, groups: str, stamp: str | None, tsa: Path | None, folder: Path | None,
    path: Path | None, data: Path | None, config: Path,
) -> None:  # fmt: skip
    """Write the evidence bundle of a record's current revision. Who sees it sees what its groups hold."""
    with opened_hub(loaded(config, data)) as hub:
        id = hub.id_of(kind, origin, id.split(",")) if key else id
        bundle = _stamped(hub.desk.export(kind, origin, id, frozenset(filter(None, groups.split(",")))), stamp, tsa)
        of = record.parse(bundle["record"].encode())
        if folder is not None:
            shown, _ = evidence.check(bundle, replace(hub.trust_file(), policy=Policy((), 0)))
            _write_files(shown, lambda digest: hub.store.attachment(of.origin, of.kind, of.id, digest), folder)
    _write_bundle(bundle, path)


@evidence_group.command("attach", context_settings=DASHED)
@click.argument("kind")
@click.argument("origin")
@click.argument("id")
@brought_argument
@click.option("--key", is_flag=True, help="ID is the city's own number of the record (parts of a key with commas between).")
@data_option
@config_option
@as_json
def evidence_attach(
    kind: str, origin: str, id: str, files: tuple[Path, ...], key: bool, data: Path | None, config: Path, json_: bool
) -> None:
    """Keep photographs and other files that a record names by digest, for partners who may see that. Safe to repeat."""
    with opened_hub(loaded(config, data)) as hub:
        id = hub.id_of(kind, origin, id.split(",")) if key else id
        found = {path.name: hub.desk.attach(origin, kind, origin, id, evidence.content(path))[1] for path in files}
    _say_attached(found, json_)


def _say_attached(found: dict[str, Any], json_: bool) -> None:
    def lines() -> None:
        for name, each in found.items():
            out.print(f"{name}: kept, {each['size']} bytes, SHA-256 {each['sha256']}", markup=False, highlight=False)

    say({"files": found}, json_, lines)


def _write_files(shown: Mapping[str, Any], fetch: Callable[[str], bytes | None], folder: Path) -> None:
    """Write what a record's attachments hold into a folder, each under its digest; tells which are not to be had."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in evidence.attachments(shown):
        content = fetch(each.sha256)
        if content is not None:
            replace_file(folder / each.sha256, content)
        err.print(f"{each}: {folder / each.sha256 if content is not None else 'nobody brought its file here'}",
                  markup=False, highlight=False, soft_wrap=True)  # fmt: skip


@evidence_group.command("certificate")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@files_argument
@click.option("--trust", "pins", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
              help="The trust file (`keys export` prints it).")  # fmt: skip
@tsa_option
@click.option("--out", "path", type=click.Path(path_type=Path), default=None, help="A file; stdout unless told.")
@config_option
def evidence_certificate(
    bundle: Path, files: tuple[Path, ...], pins: Path, tsa: Path | None, path: Path | None, config: Path
) -> None:
    """Check a bundle (and FILES, its attachments) and write one page to print, in Chinese, with a QR code of its SHA-256."""
    document, raw = evidence.load(bundle)
    kinds, trust = configuration.load(config).kinds, evidence.read_trust(pins.read_bytes())
    _write(evidence.certificate(document, raw, trust, kinds, _roots(tsa), [*map(evidence.measure, files)]), path)


def _write_bundle(bundle: Mapping[str, Any], path: Path | None) -> None:
    _write(json.dumps(bundle, ensure_ascii=False, indent=1).encode(), path)


def _write(data: bytes, path: Path | None) -> None:
    if path is None:
        click.echo(data.decode())
    else:
        replace_file(path, data)
        err.print(f"{path}: {len(data)} bytes", markup=False, highlight=False)


def _verify_document(path: Path, files: tuple[Path, ...], pins: Path | None, tsa: Path | None, json_: bool) -> None:
    """Check an evidence bundle or a proof of a fork, offline; a fork that holds exits with 5."""
    if pins is None:
        raise ConfigError(["verify FILE needs --trust FILE (`keys export` prints it; it must come by another way)"])
    document, _ = evidence.load(path)
    trust = evidence.read_trust(pins.read_bytes())
    if "fork" in document:
        if files:
            raise ConfigError([f"{path.name} is the proof of a fork: no files belong to it"])
        one, other = check_fork(document, trust.log)
        raise Tampered(
            f"{trust.log.name} signed two ledgers that contradict each other: {one.size} entries with root {b64(one.root)}, "
            f"and {other.size} entries with root {b64(other.root)} that do not continue them",
            where=path.name, mend="no entry after the last one that both share can be relied on; show this to every member",
        )  # fmt: skip
    roots, given = _roots(tsa), [*map(evidence.measure, files)]
    try:
        shown, report = evidence.check(document, trust, roots, given)
    except RecordError as error:
        mend = error.mend or "what was handed over is not what was signed: ask for it anew, and tell who handed it over"
        raise Tampered(error.what, where=f"{path.name}: {error.where}", mend=mend) from error
    _tell_report(report, json_, fields=shown)


@main.command()
@click.argument("document", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@files_argument
@click.option("--trust", "pinned", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=None,
              help="With a file to verify: the trust file (`keys export` prints it).")  # fmt: skip
@tsa_option
@click.option("--url", default=None, help="Verify an open ledger by the hub's URL instead of the local store.")
@click.option("--ledger-key", default=None, help="The ledger's vkey (with --url; as `keys card` shows it).")
@click.option("--framework", "pins", type=click.Path(exists=True, path_type=Path), default=None,
              help="With --url: a framework.yaml whose first keys are pinned.")  # fmt: skip
@data_option
@config_option
@as_json
def verify(
    document: Path | None, files: tuple[Path, ...], pinned: Path | None, tsa: Path | None, url: str | None,
    ledger_key: str | None, pins: Path | None, data: Path | None, config: Path, json_: bool,
) -> None:  # fmt: skip
    """Replay a ledger, local or by URL, or check a file of evidence offline, and say what that proves. Exit 5 on tampering.

    DOCUMENT is an evidence bundle, or the proof of a fork that a node left as fork.json. Each FILE must be an attachment that
    the bundle's record names by its SHA-256.
    """
    if document is not None:
        _verify_document(document, files, pinned, tsa, json_)
        return
    if url is None:
        with opened_hub(loaded(config, data)) as hub:
            report = hub.verify()
    else:
        if ledger_key is None:
            raise ConfigError(["verify --url needs --ledger-key NAME+ID+KEY (the hub's card shows it)"])
        key = parse_vkey(ledger_key)
        trust = None
        if pins is not None:
            framework = rules.parse_framework(read_yaml(pins), configuration.load(config).kinds)
            table = {code: Pin(member.first_key, member.custody) for code, member in framework.members.items()}
            trust = table.get
        report = audit.verify(OpenLedger(url), key.name, key, trust)
    _tell_report(report, json_)


@main.command()
@click.argument("urls", nargs=-1, required=True)
@click.option("--trust", "pins", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
              help="The ledger's trust file (`keys export` prints it).")  # fmt: skip
@click.option("--view", "views", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A checkpoint found elsewhere, such as a node's copy-head/checkpoint; read anew each round.")  # fmt: skip
@click.option("--every", type=click.IntRange(5, 86_400), default=60, show_default=True, help="Seconds between rounds.")
@click.option("--once", is_flag=True, help="One round.")
@as_json
def watch(urls: tuple[str, ...], pins: Path, views: tuple[Path, ...], every: int, once: bool, json_: bool) -> None:
    """Follow one ledger at one or more open addresses: verify each new entry, compare all views. Exit 5 on tampering.

    A fork's proof is written to fork.json in the folder this runs in.
    """
    trust = evidence.read_trust(pins.read_bytes())
    watching = Watch(trust, {url: OpenLedger(url) for url in urls})
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    code = 0
    while not stopped.is_set():
        states = set()
        for told in watching.round({str(path): path.read_bytes() for path in views}):
            states.add(told.state)
            if json_:
                click.echo(json.dumps({"where": told.where, "state": told.state, "what": told.what}, ensure_ascii=False))
            else:
                out.print(f"{told.state:9} {told.where}: {told.what}", markup=False, highlight=False, soft_wrap=True)
            if told.proof:
                replace_file(Path("fork.json"), told.proof)
        if "tampered" in states:
            sys.exit(5)
        code = 6 if states == {"away"} else 0
        if once:
            break
        stopped.wait(every)
    sys.exit(code)


# --- a partner's node ---


@main.group("partner")
def partner_group() -> None:
    """A partner city's own node 伙伴节点: collect, push, pull, verify, export."""


node_option = click.option("--data", type=click.Path(path_type=Path), required=True, help="The node's folder.")
phrase_option = click.option("--passphrase", default="env:CROSSREGION_PASSPHRASE", show_default=True,
                             help="Reference to the passphrase of its keys: env:NAME or file:PATH.")  # fmt: skip


def _ring(data: Path, phrase: str) -> KeyRing:
    if (data.parent / app.MARK).exists():
        return KeyRing(data / "keys", demonstration.passphrase(data.parent))
    return KeyRing(data / "keys", configuration.secret(phrase, data))


@contextmanager
def _node(data: Path, phrase: str, config: Path) -> Iterator[tuple[Node, Settings]]:
    settings = configuration.load(config)
    node = Node(data, _ring(data, phrase), settings.kinds, app.clock(settings))
    try:
        yield node, settings
    finally:
        node.close()


@partner_group.command("init")
@click.option(
    "--card",
    "card_file",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="The hub's connection card.",
)
@click.option("--origin", required=True, help="This city's code.")
@click.option("--ca-file", default=None)
@click.option("--proxy", default=None)
@node_option
@phrase_option
@config_option
@as_json
def partner_init(
    card_file: Path,
    origin: str,
    ca_file: str | None,
    proxy: str | None,
    data: Path,
    passphrase: str,
    config: Path,
    json_: bool,
) -> None:
    """Make a node: its keys and node.json; prints the lines the hub's operator puts into framework.yaml."""
    try:
        found = Card(**json.loads(card_file.read_text()))
        parse_vkey(found.ledger), parse_vkey(found.http)
    except (ValueError, TypeError, HubError) as error:
        raise ConfigError([f"{card_file}: not a connection card; get it with `python3 run.py keys card`"]) from error
    settings = configuration.load(config)
    if origin not in settings.framework.members and origin not in settings.regions:
        raise ConfigError(
            [f"{origin} is neither a member nor a region of catalogue/regions.yaml; check the code, or add it there"]
        )
    ring, now = _ring(data, passphrase), app.clock(settings)
    made = node_room.init(data, NodeFile(found, origin, ca_file, proxy), ring, now)
    told = pins.keys_of(ring, origin, ring.first_note(found.hub, origin, "self", ""))
    block = "\n".join(
        (
            _pin_lines(told, settings),
            f"To take over a chain that the hub signs now: `keys hand-over {origin} --to {made['batch_key']}` at the hub.",
            f"{data / node_room.ANNOUNCEMENT} says the same, signed: the operator checks it with `keys pin`.",
        )
    )
    say(made, json_, lambda: out.print(block, markup=False, highlight=False, soft_wrap=True))


@partner_group.command("collect")
@click.option("--full", is_flag=True)
@node_option
@phrase_option
@config_option
@as_json
def partner_collect(full: bool, data: Path, passphrase: str, config: Path, json_: bool) -> None:
    """Pull this city's own system and sign what is new with the city's key."""
    with _node(data, passphrase, config) as (node, settings):
        declaration = _declaration(settings, node.origin)
        intake = Intake(node.own, node.kinds, node.issuer, node.digest_key, settings.secret, app.clock(settings))
        with progress_bar(json_) as progress:
            outcomes = [
                intake.run(
                    declaration, feed, settings.connection(node.origin), full=full, who="operator", progress=progress
                )
                for feed in declaration.feeds
            ]
    _tell_pulls(outcomes, json_)


@partner_group.command("push")
@node_option
@phrase_option
@config_option
@as_json
def partner_push(data: Path, passphrase: str, config: Path, json_: bool) -> None:
    """Send what the hub has not acknowledged yet."""
    with _node(data, passphrase, config) as (node, _):
        done = node.push()
    say(
        done,
        json_,
        lambda: out.print(
            f"sent {done['sent']}, known there {done['known']}, all up to seq {done['seq']} acknowledged"
        ),
    )


@partner_group.command("pull")
@node_option
@phrase_option
@config_option
@as_json
def partner_pull(data: Path, passphrase: str, config: Path, json_: bool) -> None:
    """Fetch and verify what is new. Exit 5 for a fork or a shrunken ledger."""
    with _node(data, passphrase, config) as (node, _):
        done = node.pull()
        node.note_audit()
    say(done, json_, lambda: out.print(f"{done['new']} new entries; the copy holds {done['size']}, verified"))


@partner_group.command("verify")
@click.option("--mend", is_flag=True, help="Pull damaged batches again, and give back what is held beyond entitlement.")
@node_option
@phrase_option
@config_option
@as_json
def partner_verify(mend: bool, data: Path, passphrase: str, config: Path, json_: bool) -> None:
    """Check the whole copy again: signatures, chains, roots, disclosures; offline unless it is to be mended."""
    with _node(data, passphrase, config) as (node, settings):
        done: dict[str, Any] = {}
        if mend:
            done = {"mended": [each._asdict() for each in node.mend()], "given_back": node.give_back()}
        report = audit.fsck(node.copy, settings.kinds, node.digest_key)
        if not report.problems:
            report.unproven += [
                f"that {' '.join(each['groups'])} of {each['records']} {each['kind']} of {each['origin']} may be held: "
                "beyond the agreement; `partner verify --mend` gives it back"
                for each in node.beyond()
            ]
    _tell_report(report, json_, **done)
    sys.exit(5 if report.problems else 0)


@partner_group.command("take-over")
@click.argument("given", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@node_option
@phrase_option
@config_option
@as_json
def partner_take_over(given: Path, data: Path, passphrase: str, config: Path, json_: bool) -> None:
    """Go on with the chain that the hub signed for this city, by the file its `keys hand-over` wrote. Safe to repeat."""
    document, _ = evidence.load(given)
    with _node(data, passphrase, config) as (node, _):
        node.pull()
        node.take_over(document)
        found = node.push()
    say(found, json_, lambda: out.print(f"{node.origin} signs for itself from seq {found['seq']} on; delete {given}"))


@partner_group.command("rotate")
@click.option("--http", is_flag=True, help="The HTTP key instead: call with the next one from now on (`keys new http`).")
@void_option
@sm2_option
@node_option
@phrase_option
@config_option
@as_json
def partner_rotate(
    http: bool, void_from: int | None, second: bool | None, data: Path, passphrase: str, config: Path, json_: bool
) -> None:
    """Bring this city's next key into force, and push it. Safe to repeat."""
    if http and (void_from or second is not None):
        raise ConfigError(["--http: stands alone; --void-from and --sm2 are of the key that signs entries"])
    with _node(data, passphrase, config) as (node, _):
        if http:
            vkey = node.replace_http()
            line = f"{node.origin} now calls with {vkey}; the one before may go from framework.yaml"
            say({"origin": node.origin, "vkey": vkey}, json_, lambda: out.print(line, markup=False, soft_wrap=True))
            return
        found = {"origin": node.origin, "vkey": node.rotate(void_from or 0, second)} | node.push()
    _say_rotated(found, json_)


@partner_group.command("evidence", context_settings=DASHED)
@click.argument("kind")
@click.argument("origin")
@click.argument("id")
@stamp_option
@tsa_option
@folder_option
@click.option("--out", "path", type=click.Path(path_type=Path), default=None, help="A file; stdout unless told.")
@node_option
@phrase_option
@config_option
def partner_evidence(
    kind: str, origin: str, id: str, stamp: str | None, tsa: Path | None, folder: Path | None, path: Path | None, data: Path,
    passphrase: str, config: Path,
) -> None:  # fmt: skip
    """Fetch the evidence bundle of a record this city may see, checked before it is written."""
    with _node(data, passphrase, config) as (node, _):
        bundle = json.loads(node.evidence(kind, origin, id))
        shown, _ = evidence.check(bundle, node.trust_file())
        bundle = _stamped(bundle, stamp, tsa)
        if folder is not None:
            _write_files(shown, lambda digest: node.attachment(kind, origin, id, digest), folder)
    _write_bundle(bundle, path)


@partner_group.command("attach", context_settings=DASHED)
@click.argument("kind")
@click.argument("id")
@brought_argument
@node_option
@phrase_option
@config_option
@as_json
def partner_attach(
    kind: str, id: str, files: tuple[Path, ...], data: Path, passphrase: str, config: Path, json_: bool
) -> None:
    """Bring the hub photographs and other files that a pushed record of this city names by digest. Safe to repeat."""
    with _node(data, passphrase, config) as (node, _):
        found = {path.name: node.attach(kind, id, evidence.content(path)) for path in files}
    _say_attached(found, json_)


@partner_group.command("witness")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=8471, show_default=True)
@node_option
@phrase_option
@config_option
def partner_witness(host: str, port: int, data: Path, passphrase: str, config: Path) -> None:
    """Serve add-checkpoint (C2SP tlog-witness): the hub, or anybody, brings checkpoints of its ledger to be cosigned."""
    with _node(data, passphrase, config) as (node, _):
        bound = app.bind(host, port)
        server = app.Server(create_witness(node.add_checkpoint), bound, None)
        server.start()
        err.print(f"http://{host}:{bound.getsockname()[1]}/add-checkpoint (Ctrl-C stops)", markup=False, highlight=False)
        wait_for_stop()
        server.stop()


@partner_group.command("status")
@node_option
@phrase_option
@config_option
@as_json
def partner_status(data: Path, passphrase: str, config: Path, json_: bool) -> None:
    """Show where the node stands."""
    with _node(data, passphrase, config) as (node, _):
        found = node.status()
    say(found, json_, lambda: out.print_json(json.dumps(found, ensure_ascii=False)))


@partner_group.command("export")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True)
@click.option("--format", "how", type=click.Choice(["csv", "json", "sqlite"]), default="csv", show_default=True)
@node_option
@phrase_option
@config_option
@as_json
def partner_export(folder: Path, how: str, data: Path, passphrase: str, config: Path, json_: bool) -> None:
    """Write what this city may see for its own system: CSV, JSON lines, or a read-only SQL view in a SQLite file."""
    with _node(data, passphrase, config) as (node, settings):
        files = export_records(folder, how, node.records, settings.kinds)
        unknown = sorted({row.kind for row in node.copy_store.series() if row.standing} - set(settings.kinds))

    def lines() -> None:
        _print_rows(files, ("kind", "records", "file"))
        for kind in unknown:
            err.print(
                f"left out: {kind} is held and not declared here; put its file into {config / 'kinds'}", markup=False
            )

    say({"files": files, "left_out": unknown}, json_, lines)
