"""Commands of a partner's own node: init, collect, push, pull, verify, cosign, export; they need no hub on this machine."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from hub import app, audit, evidence, pins
from hub import partner as node_room
from hub import settings as configuration
from hub.cli.base import (
    DASHED,
    as_json,
    brought_argument,
    config_option,
    declared,
    err,
    folder_option,
    main,
    node_ring,
    out,
    pin_lines,
    print_rows,
    progress_bar,
    say,
    say_attached,
    say_rotated,
    sm2_option,
    stamp_option,
    stamped,
    tell_pulls,
    tell_report,
    tsa_option,
    void_option,
    wait_for_stop,
    write_bundle,
    write_files,
)
from hub.errors import ConfigError, HubError
from hub.export import export_records
from hub.intake import Intake
from hub.note import parse_vkey
from hub.partner import Card, Node, NodeFile
from hub.settings import Settings
from hub.web.witness import create_witness


@main.group("partner")
def partner_group() -> None:
    """A partner city's own node 伙伴节点: collect, push, pull, verify, export."""


node_option = click.option("--data", type=click.Path(path_type=Path), required=True, help="The node's folder.")
phrase_option = click.option("--passphrase", default="env:CROSSREGION_PASSPHRASE", show_default=True,
                             help="Reference to the passphrase of its keys: env:NAME or file:PATH.")  # fmt: skip


@contextmanager
def _node(data: Path, phrase: str, config: Path) -> Iterator[tuple[Node, Settings]]:
    settings = configuration.load(config)
    node = Node(data, node_ring(data, phrase), settings.kinds, app.clock(settings))
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
    ring, now = node_ring(data, passphrase), app.clock(settings)
    made = node_room.init(data, NodeFile(found, origin, ca_file, proxy), ring, now)
    told = pins.keys_of(ring, origin, ring.first_note(found.hub, origin, "self", ""))
    block = "\n".join(
        (
            pin_lines(told, settings),
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
        declaration = declared(settings, node.origin)
        intake = Intake(node.own, node.kinds, node.issuer, node.digest_key, settings.secret, app.clock(settings))
        with progress_bar(json_) as progress:
            outcomes = [
                intake.run(
                    declaration, feed, settings.connection(node.origin), full=full, who="operator", progress=progress
                )
                for feed in declaration.feeds
            ]
    tell_pulls(outcomes, json_)


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
    tell_report(report, json_, **done)
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
    say_rotated(found, json_)


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
        bundle = stamped(bundle, stamp, tsa)
        if folder is not None:
            write_files(shown, lambda digest: node.attachment(kind, origin, id, digest), folder)
    write_bundle(bundle, path)


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
    say_attached(found, json_)


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
        print_rows(files, ("kind", "records", "file"))
        for kind in unknown:
            err.print(
                f"left out: {kind} is held and not declared here; put its file into {config / 'kinds'}", markup=False
            )

    say({"files": files, "left_out": unknown}, json_, lines)
