"""What all commands share: the group they belong to, errors in a line, tables, the hub of a data folder.

`--json` prints one object on stdout; progress goes to stderr. Exit codes: 0 ok, 1 failed, 2 usage or configuration,
3 partial, 4 ran well and differences were found, 5 ledger tampering, 6 peer unreachable, 7 signature or key refused,
11 locked.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click
from cryptography.x509 import Certificate
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.base import SourceError
from adapters.declaration import Declaration
from adapters.declared import DeclarationError, did_you_mean
from hub import app, audit, evidence, pins
from hub import demo as demonstration
from hub import settings as configuration
from hub.errors import ConfigError, HubError, Locked
from hub.export import replace_file
from hub.framework import HUB
from hub.intake import Outcome
from hub.keys import KeyRing
from hub.settings import Settings
from hub.timestamp import read_roots
from hub.wire import ask_timestamp
from hub.workshop import collect_rarely

ROOT = Path(__file__).resolve().parents[2]
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


def start_hub(settings: Settings, port: int | None = None) -> app.Hub:
    """The hub of a data folder, with the passphrase its configuration refers to."""
    folder = settings.hub.data
    app.refuse_other_purpose(folder, False)
    if not (folder / "keys" / f"ledger.{HUB}.key").exists():
        command = f"python3 run.py keys init --config {settings.folder} --data {folder}"
        raise ConfigError([f"{folder}/keys: this hub has no keys yet; run `{command}`"])
    return app.Hub(settings, folder, KeyRing(folder / "keys", settings.secret(settings.hub.passphrase)), port=port)


@contextmanager
def opened_hub(settings: Settings, reads: bool = False) -> Iterator[app.Hub]:
    """The hub of a data folder; that of a demo comes with its sample cities.

    Beside a running demo there are none to be had: Locked for what `reads` them.
    """
    if (settings.hub.data / app.MARK).exists():
        with ExitStack() as stack:
            try:
                hub = stack.enter_context(demonstration.opened(settings, settings.hub.data)).hub
            except Locked:
                if reads:
                    raise
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


def pin_lines(found: pins.Announced, settings: Settings) -> str:
    name = settings.regions.get(found.origin, found.origin)
    lines = pins.block(found, name, settings.framework.members.get(found.origin))
    return f"For the hub's framework.yaml, below `members:` (and {found.origin} into the agreement's own members):\n{lines}"


void_option = click.option(
    "--void-from", type=click.IntRange(2), default=None,
    help="Disown the origin's batches from this seq on: somebody else had its key.",
)  # fmt: skip
sm2_option = click.option(
    "--sm2/--no-sm2", "second", default=None,
    help="Announce an SM2 key beside the next one, or none; it comes into force with the rotation after this one.",
)  # fmt: skip


def say_rotated(found: dict[str, Any], json_: bool) -> None:
    line = f"{found['origin']} now signs with {found['vkey']}; take keys/next offline again"
    say(found, json_, lambda: out.print(line, markup=False, highlight=False, soft_wrap=True))


def _print_problems(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["problem"]:
            out.print(f"{row['code']} {row['feed']}: {row['problem']}", markup=False, highlight=False, soft_wrap=True)


def print_rows(rows: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    table = Table()
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    out.print(table)


def declared(settings: Settings, code: str) -> Declaration:
    found = settings.declarations.get(code)
    if found is None:
        raise ConfigError([f"no declaration for {code}; known: {', '.join(sorted(settings.declarations))}"])
    return found


def tell_pulls(outcomes: list[Outcome], json_: bool) -> None:
    rows = [asdict(outcome.pull) for outcome in outcomes]
    names = ("code", "feed", "state", "read", "stored", "unchanged", "retracted", "quarantined")

    def lines() -> None:
        print_rows(rows, names)
        _print_problems(rows)

    say({"pulls": rows}, json_, lines)
    if any(row["state"] != "succeeded" for row in rows):
        sys.exit(3)


def known_name(option: str, value: str | None, known: Iterable[str]) -> None:
    if value is not None and value not in known:
        raise ConfigError([f"{option} {value}: {did_you_mean(value, known)}"])


def tell_report(report: audit.Report, json_: bool, **more: Any) -> None:
    def lines() -> None:
        for line in report.proved:
            out.print(f"✓ {line}", markup=False, highlight=False, soft_wrap=True)
        for line in report.unproven:
            out.print(f"? not proven: {line}", markup=False, highlight=False, soft_wrap=True)
        for line in report.problems:
            err.print(f"✗ {line}", markup=False, highlight=False, soft_wrap=True)

    say(asdict(report) | more, json_, lines)


def stamped(bundle: dict[str, Any], url: str | None, tsa: Path | None) -> dict[str, Any]:
    """A bundle with the timestamp asked for; it stays as it is where none is."""
    if url is None:
        return bundle
    roots = tsa_roots(tsa)
    return evidence.with_timestamp(bundle, lambda request: ask_timestamp(url, request, rooted=roots is not None), roots)


def tsa_roots(tsa: Path | None) -> list[Certificate] | None:
    return read_roots(tsa.read_bytes()) if tsa is not None else None


def say_attached(found: dict[str, Any], json_: bool) -> None:
    def lines() -> None:
        for name, each in found.items():
            out.print(f"{name}: kept, {each['size']} bytes, SHA-256 {each['sha256']}", markup=False, highlight=False)

    say({"files": found}, json_, lines)


def write_files(shown: Mapping[str, Any], fetch: Callable[[str], bytes | None], folder: Path) -> None:
    """Write what a record's attachments hold into a folder, each under its digest; tells which are not to be had."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in evidence.attachments(shown):
        content = fetch(each.sha256)
        if content is not None:
            replace_file(folder / each.sha256, content)
        err.print(f"{each}: {folder / each.sha256 if content is not None else 'nobody brought its file here'}",
                  markup=False, highlight=False, soft_wrap=True)  # fmt: skip


def write_bundle(bundle: Mapping[str, Any], path: Path | None) -> None:
    write_out(json.dumps(bundle, ensure_ascii=False, indent=1).encode(), path)


def write_out(data: bytes, path: Path | None) -> None:
    if path is None:
        click.echo(data.decode())
    else:
        replace_file(path, data)
        err.print(f"{path}: {len(data)} bytes", markup=False, highlight=False)


def node_ring(data: Path, phrase: str) -> KeyRing:
    if (data.parent / app.MARK).exists():
        return KeyRing(data / "keys", demonstration.passphrase(data.parent))
    return KeyRing(data / "keys", configuration.secret(phrase, data))
