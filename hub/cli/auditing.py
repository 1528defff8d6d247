"""Commands that audit, keep, erase and prove: fsck, rebuild, backup, erase, evidence, verify, watch."""

import getpass
import json
import signal
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import click

from adapters.declared import read_yaml
from hub import app, audit, backup, evidence, record
from hub import framework as rules
from hub import settings as configuration
from hub.canonical import b64
from hub.cli.base import (
    DASHED,
    as_json,
    brought_argument,
    config_option,
    data_option,
    files_argument,
    folder_option,
    loaded,
    main,
    opened_hub,
    out,
    print_rows,
    say,
    say_attached,
    stamp_option,
    stamped,
    tell_report,
    tsa_option,
    tsa_roots,
    write_bundle,
    write_files,
    write_out,
)
from hub.errors import ConfigError, HubError, RecordError, Tampered
from hub.export import replace_file
from hub.intake import Reference
from hub.keys import KeyRing
from hub.ledger import Pin
from hub.note import parse_vkey
from hub.watch import Ledgers
from hub.wire import OpenLedger
from hub.witness import Policy, check_fork


@main.command()
@data_option
@config_option
@as_json
def fsck(data: Path | None, config: Path, json_: bool) -> None:
    """Hash everything stored again and hold it against entries, head and views."""
    with opened_hub(loaded(config, data)) as hub:
        report = audit.fsck(hub.ledger, hub.settings.kinds, hub.digest_key)
    tell_report(report, json_)
    sys.exit(5 if report.problems else 0)


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
    say({"erasures": rows}, json_, lambda: print_rows(
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
    say({"due": rows}, json_, lambda: print_rows(
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
        bundle = stamped(hub.desk.export(kind, origin, id, frozenset(filter(None, groups.split(",")))), stamp, tsa)
        of = record.parse(bundle["record"].encode())
        if folder is not None:
            shown, _ = evidence.check(bundle, replace(hub.trust_file(), policy=Policy((), 0)))
            write_files(shown, lambda digest: hub.store.attachment(of.origin, of.kind, of.id, digest), folder)
    write_bundle(bundle, path)


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
    say_attached(found, json_)


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
    write_out(evidence.certificate(document, raw, trust, kinds, tsa_roots(tsa), [*map(evidence.measure, files)]), path)


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
    roots, given = tsa_roots(tsa), [*map(evidence.measure, files)]
    try:
        shown, report = evidence.check(document, trust, roots, given)
    except RecordError as error:
        mend = error.mend or "what was handed over is not what was signed: ask for it anew, and tell who handed it over"
        raise Tampered(error.what, where=f"{path.name}: {error.where}", mend=mend) from error
    tell_report(report, json_, fields=shown)


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
        try:
            key = parse_vkey(ledger_key)
        except HubError as error:
            raise ConfigError([f"--ledger-key: {error.what}; copy `ledger` from the hub's card whole"]) from None
        trust = None
        if pins is not None:
            framework = rules.parse_framework(read_yaml(pins), configuration.load(config).kinds)
            table = {code: Pin(member.first_key, member.custody) for code, member in framework.members.items()}
            trust = table.get
        report = audit.verify(OpenLedger(url), key.name, key, trust)
    tell_report(report, json_)


@main.command()
@click.argument("urls", nargs=-1, required=True)
@click.option("--trust", "pins", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, multiple=True,
              help="The ledger's trust file (`keys export` prints it); give one for each ledger to follow.")  # fmt: skip
@click.option("--view", "views", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A checkpoint found elsewhere, such as a node's copy-head/checkpoint; read anew each round.")  # fmt: skip
@click.option("--every", type=click.IntRange(5, 86_400), default=60, show_default=True, help="Seconds between rounds.")
@click.option("--once", is_flag=True, help="One round.")
@as_json
def watch(
    urls: tuple[str, ...], pins: tuple[Path, ...], views: tuple[Path, ...], every: int, once: bool, json_: bool
) -> None:
    """Follow ledgers at open addresses: verify each new entry, compare all views of each. Exit 5 on tampering.

    A fork's proof is written to fork.json in the folder this runs in.
    """
    watching = Ledgers([evidence.read_trust(path.read_bytes()) for path in pins], {url: OpenLedger(url) for url in urls})
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
