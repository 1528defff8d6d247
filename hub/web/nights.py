"""The pages of nights: each one's report as it was signed."""

import flask

from hub.web.page import frame, language, page, rooms


def pages(console: flask.Blueprint) -> None:
    """Register a night's report."""
    console.add_url_rule("/nights/<agreement>/<night>", "night", _night)


def _night(agreement: str, night: str) -> flask.Response:
    reports = rooms().reports
    if reports is None:
        flask.abort(404)
    report, lang = reports(agreement, night), language()
    return page("night.html", frame(), r=report, label=lambda name: reports.label(name, lang))
