"""Cursors of incremental reads: text in, text out, in the source's own spelling.

Pure. A cursor is the highest value of a column seen so far: a whole number, an ISO-like time
("2026-11-22 17:03:11", with T, offset or fraction as the source writes them; bare times are
+08:00), or text that is only compared. Reading again from `cursor - lag` is harmless (what did not
change is not stored twice) and finds what was committed late.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

CHINA = timezone(timedelta(hours=8))
_TIME = re.compile(
    r"([0-9]{4})([-/])([0-9]{2})[-/]([0-9]{2})([T ])([0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.[0-9]{1,9})?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_NUMBER = re.compile(r"[0-9]{1,38}")

Lag = timedelta | int | None


def time_of(text: str) -> datetime | None:
    """The moment a cursor spells, to the second; None where it is no time."""
    match = _TIME.fullmatch(text)
    if not match:
        return None
    year, _, month, day, _, clock, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{offset or '+08:00'}")
    except ValueError:
        return None
    return moment


def spelled_like(text: str, moment: datetime) -> str:
    """A moment in the spelling of the cursor `text`, to the second; `text` itself where it is no time."""
    match = _TIME.fullmatch(text)
    if not match:
        return text
    _, dash, _, _, letter, _, offset = match.groups()
    zone = CHINA if offset is None else (time_of(text) or moment).tzinfo
    local = moment.astimezone(zone)
    form = f"%Y{dash}%m{dash}%d{letter}%H:%M:%S"
    return local.strftime(form) + ("" if offset is None else offset)


def _order(text: str) -> tuple[int, Any]:
    if _NUMBER.fullmatch(text):
        return 2, int(text)
    moment = time_of(text)
    return (1, moment.astimezone(UTC)) if moment else (0, text)


def higher(one: str | None, other: str | None) -> str | None:
    """The higher of two cursors; numbers and times by what they mean."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=_order)


def not_after(text: str, now: datetime) -> str:
    """The cursor, at most `now`: one row dated in the future must not hide all that comes until then."""
    moment = time_of(text)
    return spelled_like(text, now) if moment and moment > now else text


def back(text: str, lag: Lag) -> str:
    """Where to read from: the cursor less its lag (a time's in time, a number's in numbers)."""
    if isinstance(lag, timedelta) and (moment := time_of(text)):
        return spelled_like(text, moment - lag)
    if isinstance(lag, int) and _NUMBER.fullmatch(text):
        return str(max(0, int(text) - lag)).zfill(len(text))
    return text
