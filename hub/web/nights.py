"""The pages of nights: a calendar of reports, each report as it was signed, and the same as CSV or a workbook."""

import calendar
from datetime import date, timedelta

import flask

from hub.accounts import sees
from hub.errors import NotFound
from hub.reports import csv_of, table, xlsx_of
from hub.web.page import ReportsLike, city_name, frame, kind_word, language, mine, page, rooms, status, there, words

_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def pages(console: flask.Blueprint) -> None:
    """Register the calendar, a night's report, and its export."""
    console.add_url_rule("/nights", "nights", _nights)
    console.add_url_rule("/nights/<agreement>/<night>", "night", _night)
    console.add_url_rule("/nights/<agreement>/<night>.<any(csv, xlsx):how>", "night_export", _export)


def _reports() -> ReportsLike:
    return there(rooms().reports)


def _nights() -> flask.Response:
    now, reports = status(), _reports()
    today = words(now).now.date()
    first = _month(flask.request.args.get("month", ""), today)
    last = (first - timedelta(days=1)).replace(day=1)
    shown = [
        {"agreement": one["agreement"], "name": one["name"], "next": one["next"], "running": one["running"],
         "nights": reports.month(one["agreement"], first), "began": bool(reports.month(one["agreement"], last))}
        for one in now["night"]["agreements"]
    ]  # fmt: skip
    weeks = calendar.Calendar().monthdatescalendar(first.year, first.month)
    return page(
        "nights.html", now, first=first, weeks=weeks, today=today, agreements=shown,
        before=last.strftime("%Y-%m"),
        after=(first + timedelta(days=31)).strftime("%Y-%m") if first < today.replace(day=1) else None,
    )  # fmt: skip


def _month(text: str, today: date) -> date:
    """The first day of the month that is asked for, or of this one."""
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        return today.replace(day=1)


def _report(agreement: str, night: str) -> dict[str, object]:
    if not sees(mine(), (agreement,)):
        raise NotFound(f"no report of {agreement} on {night}", mend="see the calendar of nights")
    return _reports()(agreement, night)


def _night(agreement: str, night: str) -> flask.Response:
    report, reports, now, lang = _report(agreement, night), _reports(), frame(), language()
    return page(
        "night.html", now, r=report, label=lambda name: reports.label(name, lang), city=city_name,
        kind_word=lambda kind: kind_word(words(now), kind),
    )  # fmt: skip


def _export(agreement: str, night: str, how: str) -> flask.Response:
    rows = table(_reports().label, _report(agreement, night), language())
    body = csv_of(rows) if how == "csv" else xlsx_of(rows, f"{agreement} {night}")
    reply = flask.Response(body, content_type=_TYPES[how])
    reply.headers["Content-Disposition"] = f'attachment; filename="{agreement}-{night}.{how}"'
    return reply
