"""Commands that run a hub: demo, serve, status, pull, pause, resume, reconcile."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from hub import app
from hub import demo as demonstration
from hub import settings as configuration
from hub.cli.base import (
    ROOT,
    as_json,
    config_option,
    data_option,
    declared,
    err,
    loaded,
    main,
    opened_hub,
    out,
    print_rows,
    progress_bar,
    say,
    start_hub,
    tell_pulls,
    wait_for_stop,
)
from hub.errors import ConfigError
from hub.pauses import REASONS


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


@main.command()
@click.argument("codes", nargs=-1)
@click.option("--full", is_flag=True, help="Read the whole range, not from the cursor.")
@data_option
@config_option
@as_json
def pull(codes: tuple[str, ...], full: bool, data: Path | None, config: Path, json_: bool) -> None:
    """Pull jurisdictions now (all of the hub's own unless told)."""
    settings = loaded(config, data)
    with opened_hub(settings, reads=True) as hub:
        pulled = {each.code for each in hub.sources()}
        for code in codes:
            if declared(settings, code).code not in pulled:
                raise ConfigError([f"{code} signs for itself: its own node pulls it with `partner collect`"])
        wanted = [declared(settings, code) for code in codes] or hub.awake()
        with progress_bar(json_) as progress:
            outcomes = [
                outcome for each in wanted for outcome in hub.pull(each, who="operator", full=full, progress=progress)
            ]
    tell_pulls(outcomes, json_)


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
    with opened_hub(loaded(config, data), reads=True) as hub:
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
        print_rows(shown, names)

    say({"nights": rows, "open_differences": remaining}, json_, lines)
    sys.exit(4 if remaining else 0)


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
        print_rows(rows, ("code", "name", "state", "last_success", "records", "quarantined", "differences"))

    say(found, json_, lines)
