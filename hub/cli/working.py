"""Commands on what people work on: differences, nights, deadlines."""

import sys
from pathlib import Path
from typing import Any

import click

from hub.cli.base import as_json, config_option, data_option, known_name, loaded, main, opened_hub, out, print_rows, say
from hub.errors import ConfigError
from hub.export import replace_file
from hub.reconcile import worklist
from hub.reconcile.deadlines import STATES, due_list, working_days
from hub.reports import csv_of, table, xlsx_of


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
        known_name("--type", type_, hub.settings.types)
        known_name("--agreement", agreement, hub.framework.agreements)
        known_name("--state", state, worklist.STATES)
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
        print_rows(found["refs"], ("origin", "kind", "id", "rev"))
        if found["points"]:
            print_rows(found["points"], ("field", "verdict", "number", "weight", "score"))
        print_rows(found["history"], ("at", "who", "step", "code", "reason"))
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
        known_name("--agreement", agreement, hub.framework.agreements)
        names = [agreement] if agreement else sorted(hub.framework.agreements)
        found = [night for name in names for night in hub.store.nights(name, last)]
    rows = [{"agreement": each.agreement, "night": each.night, "state": each.state} | dict(each.result) for each in found]

    def lines() -> None:
        shown = [dict.fromkeys(("compared", "repaired", "open_differences", "overdue"), "") | row for row in rows]
        print_rows(shown, ("agreement", "night", "state", "compared", "repaired", "open_differences", "overdue"))

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
        known_name("--region", region, hub.framework.members)
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
