"""Commands on what is declared: config, framework, adapters."""

import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import click

from adapters import declaration as declarations
from adapters.base import SourceError
from adapters.declaration import Feed
from adapters.declared import DeclarationError, read_yaml
from hub import framework as rules
from hub import settings as configuration
from hub.cli.base import as_json, config_option, data_option, declared, err, loaded, main, opened_hub, out, print_rows, say
from hub.errors import ConfigError, HubError
from hub.settings import Settings


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
        lambda: out.print("\n".join(lines) or "no change 无变化", markup=False, highlight=False, soft_wrap=True),
    )


@main.group("adapters")
def adapters_group() -> None:
    """Check, preview and compare the cities' declarations 适配器."""


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
        declaration = declared(settings, code)
        problems += declarations.lint(declaration, fields)
        for feed in declaration.feeds:
            found = _sample_counts(settings, feed)
            feeds.append({"code": code, "feed": feed.name} | found)
            if found["rows"] and not found["records"]:
                problems.append(f"{code} {feed.name}: no row of the sample becomes a record: {found['first_problem']}")

    def lines() -> None:
        print_rows(feeds, ("code", "feed", "rows", "records", "quarantined"))
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
@click.option("--rows", type=click.IntRange(1), default=3, show_default=True)
@config_option
@as_json
def adapters_preview(code: str, feed: str | None, rows: int, config: Path, json_: bool) -> None:
    """Show rows of a city's sample and the records they become, sealed groups masked."""
    settings = configuration.load(config)
    shown = []
    feeds = declared(settings, code).feeds
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
    declaration = declared(settings, code)
    if changed:
        declaration = declarations.load(changed)
        if declaration.code != code:
            raise ConfigError([f"--with {changed}: declares {declaration.code}, not {code}; name that one, or another file"])
    with opened_hub(settings, reads=True) as hub:
        counts = hub.trial(declaration)
    say(
        {"feeds": counts},
        json_,
        lambda: print_rows(counts, ("feed", "read", "new", "revised", "unchanged", "refused", "absent")),
    )
