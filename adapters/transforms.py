"""The transforms that a declaration may name: one raw value of a city's system → one value of a
record.

Pure. A transform takes what a transport gives (text, whole numbers, booleans, lists, maps, None)
and returns the value of a record's field, or None where there is nothing. What it cannot read it
refuses with `Bad`, which says what kind of value was expected and never repeats the value. Money is
yuan with two places, dates are ISO, times carry their offset. Each is compiled once per mapper; the
mapper remembers what short text came to.
"""

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unicodedata import is_normalized, normalize

import jmespath
from jmespath.exceptions import JMESPathError

Convert = Callable[[Any], Any]

MEMO = 4096
MEMO_LENGTH = 64
_MISSING = object()
_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_BRACKETS = str.maketrans("[【［]】］", "〔〔〔〕〕〕")
_SAFE_INTEGER = 2**53 - 1


class Bad(ValueError):
    """A value that cannot be read: what was expected, and how to mend it; never the value."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.what, self.mend = what, mend


def kind_of(value: Any) -> str:
    """What a value is, without saying it: "text of 5 characters"."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    names = {dict: "a map", bool: "a boolean", int: "a whole number", bytes: "bytes"}
    return names.get(type(value), "a value of another type")


def _expected(what: str, value: Any, mend: str = "") -> Bad:
    return Bad(f"expected {what}, found {kind_of(value)}", mend)


# --- text ---


def plain(value: Any) -> str:
    """A scalar as trimmed NFC text; Bad for lists, maps and bytes."""
    if type(value) is str:
        text: str = value.strip()
        return text if text.isascii() or is_normalized("NFC", text) else normalize("NFC", text)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise _expected("text", value)


def half_width(text: str) -> str:
    """Full-width letters, digits and signs as their ASCII forms, the ideographic blank as a blank."""
    return text if text.isascii() else text.translate(_WIDTH)


def fold_text(folds: Sequence[str]) -> Callable[[str], str]:
    """What `fold:` names, in one fixed order whatever the order written."""
    steps: list[Callable[[str], str]] = []
    if "entities" in folds:
        steps.append(html.unescape)
    if "width" in folds:
        steps.append(half_width)
    if "brackets" in folds:
        steps.append(lambda text: text.translate(_BRACKETS))
    if "blanks" in folds:
        steps.append(lambda text: " ".join(text.split()))

    def fold(text: str) -> str:
        for step in steps:
            text = step(text)
        return normalize("NFC", text.strip())

    return fold


def cleaner(rule: Mapping[str, Any], nulls: frozenset[str]) -> Callable[[Any], str]:
    """Any scalar as text with the rule's folds and strips done; "" where it spells nothing."""
    if rule.get("exact"):

        def keep(value: Any) -> str:
            text = plain(value)
            if text in nulls:
                return ""
            return normalize("NFC", value) if type(value) is str else text

        return keep
    fold = fold_text(rule.get("fold") or ())
    prefixes = tuple(fold(each) for each in rule.get("strip_prefix") or ())
    suffixes = tuple(fold(each) for each in rule.get("strip_suffix") or ())
    if not (rule.get("fold") or prefixes or suffixes):

        def trim(value: Any) -> str:
            text = plain(value)
            return "" if text in nulls else text

        return trim

    def clean(value: Any) -> str:
        text = plain(value)
        if text in nulls:
            return ""
        text = fold(text)
        for prefix in prefixes:
            text = text.removeprefix(prefix).lstrip()
        for suffix in suffixes:
            text = text.removesuffix(suffix).rstrip()
        return "" if text in nulls else text

    return clean


def text(rule: Mapping[str, Any], nulls: frozenset[str]) -> Convert:
    """NFC text, trimmed unless `exact`; options fold, strip_prefix, strip_suffix, max (characters)."""
    most = rule.get("max")
    clean = cleaner(rule, nulls)

    def convert(value: Any) -> str | None:
        found = clean(value)
        if "\r" in found:
            found = found.replace("\r\n", "\n").replace("\r", "\n")
        if most is not None and len(found) > most:
            raise Bad(f"expected at most {most} characters, found {len(found)}")
        return found or None

    def quick(value: Any) -> str | None:
        """The same for text that is clean already, as nearly all of it is."""
        if type(value) is str:
            found = value.strip()
            if found.isascii() or is_normalized("NFC", found):
                if found in nulls:
                    return None
                if "\r" not in found:
                    return found
        return convert(value)

    changing = ("exact", "fold", "strip_prefix", "strip_suffix")
    simple = most is None and not any(rule.get(option) for option in changing)
    return quick if simple else convert


def doc_no(rule: Mapping[str, Any], nulls: frozenset[str]) -> Convert:
    """A document's number in its normalised form: half width, no blanks, the year in 〔〕, plain hyphens."""
    clean = cleaner(rule, nulls)

    def convert(value: Any) -> str | None:
        found = "".join(half_width(clean(value)).split())
        found = re.sub("[‐‑‒–—―−－]", "-", found)
        return re.sub(r"[\[【〔(〈]([0-9]{4})[\]】〕)〉]", r"〔\1〕", found) or None

    return convert


# --- codes ---


def _lookup(rule: Mapping[str, Any], tables: Mapping[str, Mapping[str, str]]) -> Callable[[str], str | None]:
    name, otherwise = rule.get("table"), rule.get("else", "refuse")
    if name is None:
        return lambda found: found
    fold = fold_text(rule.get("fold") or ())
    table = {fold(key): code for key, code in tables[name].items()}

    def look(found: str) -> str | None:
        code = table.get(found)
        if code is not None:
            return code
        if otherwise == "refuse":
            raise Bad(f"not in the table {name}", f"add it to tables.{name}, or say what `else:` is to be")
        return None if otherwise == "omit" else str(otherwise)

    return look


def code(rule: Mapping[str, Any], nulls: frozenset[str], tables: Mapping[str, Mapping[str, str]]) -> Convert:
    """One code, through `table:` where the source has its own; `else:` refuse, omit, or a code."""
    clean, look = cleaner(rule, nulls), _lookup(rule, tables)

    def convert(value: Any) -> str | None:
        found = clean(value)
        return look(found) if found else None

    return convert


def splitter(rule: Mapping[str, Any]) -> Callable[[Any], list[Any]]:
    """A list as it is, or text cut at any of the separators in `split:`."""
    separators = rule.get("split") or ()
    pattern = re.compile("|".join(re.escape(each) for each in sorted(separators, key=len, reverse=True)))

    def split(value: Any) -> list[Any]:
        if isinstance(value, (list, tuple)):
            return list(value)
        found = plain(value)
        return pattern.split(found) if separators else [found]

    return split


def codes(rule: Mapping[str, Any], nulls: frozenset[str], tables: Mapping[str, Mapping[str, str]]) -> Convert:
    """Several codes, sorted and each once: a set has one spelling."""
    split, clean, look = splitter(rule), cleaner(rule, nulls), _lookup(rule, tables)

    def convert(value: Any) -> tuple[str, ...] | None:
        if isinstance(value, str) and not clean(value):
            return None
        found = {look(item) for item in map(clean, split(value)) if item}
        return tuple(sorted(item for item in found if item)) or None

    cached = remembered(convert)

    def fresh(value: Any) -> list[str] | None:  # nobody may change what is remembered
        found = cached(value)
        return list(found) if found else None

    return fresh


# --- numbers ---

_UNITS = {"元": Decimal(1), "万元": Decimal(10_000), "分": Decimal("0.01")}
_AMOUNT = re.compile(r"[¥￥]?\s*(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?", re.ASCII)


def money(rule: Mapping[str, Any], nulls: frozenset[str]) -> Convert:
    """Yuan with two places, exactly: what does not come out at whole 分 is refused, never rounded."""
    clean, unit = cleaner(rule, nulls), rule.get("unit", "元")
    factor = _UNITS[unit]

    def convert(value: Any) -> str | None:
        found = half_width(clean(value))
        if not found:
            return None
        digits = found.lstrip("¥￥").strip().replace(",", "")
        if not _AMOUNT.fullmatch(found) or not digits.strip(".") or len(digits) > 20:
            raise _expected(f"an amount in {unit}", value)
        yuan = Decimal(digits) * factor
        if yuan * 100 != (yuan * 100).to_integral_value():
            raise Bad(f"expected an amount in {unit} that is whole in 分", "check `unit:`")
        if yuan >= 10**16:
            raise Bad("expected an amount of at most 16 digits of yuan", "check `unit:`")
        return f"{yuan:.2f}"

    return convert


def integer(rule: Mapping[str, Any], nulls: frozenset[str]) -> Convert:
    """A whole number within ±(2^53-1)."""
    clean = cleaner(rule, nulls)

    def convert(value: Any) -> int | None:
        found = half_width(clean(value))
        if not found:
            return None
        if not re.fullmatch(r"[+-]?[0-9]{1,16}", found, re.ASCII) or abs(int(found)) > _SAFE_INTEGER:
            raise _expected("a whole number", value)
        return int(found)

    return convert


def boolean(rule: Mapping[str, Any], nulls: frozenset[str]) -> Convert:
    """true or false by the spellings in `yes:` and `no:`."""
    clean = cleaner(rule, nulls)
    words = {plain(word): True for word in rule.get("yes") or ("1", "是", "true", "Y")}
    words |= {plain(word): False for word in rule.get("no") or ("0", "否", "false", "N")}

    def convert(value: Any) -> bool | None:
        found = clean(value)
        if not found:
            return None
        if found not in words:
            raise _expected("yes or no", value, "add the spelling to `yes:` or `no:`")
        return words[found]

    return convert


# --- dates and times ---

_DAY = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_TIME = r"([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,][0-9]{1,9})?(Z|[+-][0-9]{2}:?[0-9]{2})?"
_ISO = re.compile(rf"{_DAY}(?:[T ]{_TIME})?", re.ASCII)
_ERAS = {"明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018}
_ERAS |= {"M": 1867, "T": 1911, "S": 1925, "H": 1988, "R": 2018}
_ERA_DATE = re.compile(
    r"(明治|大正|昭和|平成|令和|[MTSHR])\s*(元|[0-9]{1,2})\s*[年./-]"
    r"\s*([0-9]{1,2})\s*[月./-]\s*([0-9]{1,2})\s*日?",
    re.ASCII,
)
_SERIAL = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,15}))?", re.ASCII)
_STRPTIME = re.compile(r"(?:[^%]|%[YmdHMSf%])+")

Moment = Callable[[str], datetime | None]  # None: written in another way; ValueError: no such day


def zone_of(text: str) -> timezone:
    """A fixed offset such as +08:00."""
    if not re.fullmatch(r"[+-](?:0[0-9]|1[0-4]):[0-5][0-9]", text, re.ASCII):
        raise ValueError("expected an offset such as +08:00")
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))


def format_of(name: str, zone: timezone, clock: bool) -> Moment:
    """The reader of one of `formats:`; with `clock`, iso is no bare date. ValueError for an unknown one."""
    if name == "iso":
        return lambda found: _iso(found, zone, clock)
    if name == "era-ja":
        return _era
    if name == "excel":
        return _excel
    if _STRPTIME.fullmatch(name) and name.count("%Y") == name.count("%m") == name.count("%d") == 1:
        return _by_form(name)
    raise ValueError("expected iso, era-ja, excel or a form such as %Y/%m/%d")


def _iso(found: str, zone: timezone, need_clock: bool) -> datetime | None:
    if not (match := _ISO.fullmatch(found)):
        return None
    clock, seconds, offset = match.group(4, 5, 6)
    day = "-".join(match.group(1, 2, 3))
    if not clock:
        return None if need_clock else datetime.fromisoformat(day)
    moment = datetime.fromisoformat(f"{day}T{clock}{seconds or ':00'}{offset or ''}")
    return moment.astimezone(zone) if offset else moment


def _era(found: str) -> datetime | None:
    if not (match := _ERA_DATE.fullmatch(found)):
        return None
    era, year, month, day = match.groups()
    return datetime(_ERAS[era] + (1 if year == "元" else int(year)), int(month), int(day))


def _excel(found: str) -> datetime | None:
    if not (match := _SERIAL.fullmatch(found)):
        return None
    days = int(match.group(1))
    if days in (0, 60) or days > 2_958_465:  # 60 is 29 February 1900, a day that never was
        raise ValueError
    part = Decimal(f"0.{match.group(2) or 0}")
    first = datetime(1899, 12, 31 if days < 60 else 30)
    return first + timedelta(days=days, seconds=int((part * 86_400).to_integral_value()))


_DIRECTIVES = {
    "%Y": "(?P<year>[0-9]{4})",
    "%m": "(?P<month>[0-9]{1,2})",
    "%d": "(?P<day>[0-9]{1,2})",
    "%H": "(?P<hour>[0-9]{1,2})",
    "%M": "(?P<minute>[0-9]{1,2})",
    "%S": "(?P<second>[0-9]{1,2})",
    "%f": "[0-9]{1,9}",
    "%%": "%",
}


def _by_form(form: str) -> Moment:
    """A reader of one strptime form, many times faster than strptime; fractions of a second are dropped."""
    pieces = re.split("(%.)", form)
    pattern = re.compile("".join(_DIRECTIVES.get(each) or re.escape(half_width(each)) for each in pieces))
    names = list(pattern.groupindex)
    if names == ["year", "month", "day", "hour", "minute", "second"]:
        # the usual order: no names needed
        def quick(found: str) -> datetime | None:
            match = pattern.fullmatch(found)
            return datetime(*map(int, match.groups())) if match else None  # type: ignore[arg-type]

        return quick

    def read(found: str) -> datetime | None:
        match = pattern.fullmatch(found)
        return datetime(**{name: int(match[name]) for name in names}) if match else None  # type: ignore[arg-type]

    return read


def _moments(rule: Mapping[str, Any], nulls: frozenset[str], clock: bool) -> Callable[[Any], datetime | None]:
    clean, zone = cleaner(rule, nulls), zone_of(rule.get("zone") or "+08:00")
    names, what = rule.get("formats") or ("iso",), "a date and time" if clock else "a date"
    readers = [format_of(name, zone, clock) for name in names]

    def read(value: Any) -> datetime | None:
        found = half_width(clean(value))
        if not found:
            return None
        try:
            for reader in readers:
                if moment := reader(found):
                    return moment
        except (ValueError, OverflowError):
            raise Bad(f"expected {what}, found a day or an hour that does not exist") from None
        raise _expected(f"{what} ({', '.join(names)})", value, "add its form to `formats:`")

    return read


def day(rule: Mapping[str, Any], nulls: frozenset[str]) -> Convert:
    """An ISO date; a time of day beside it is dropped, after its own offset was brought to `zone:`."""
    read = _moments(rule, nulls, clock=False)

    def convert(value: Any) -> str | None:
        moment = read(value)
        return moment.date().isoformat() if moment else None

    return convert


_QUICK_FORMS = {"iso": "T ", "%Y-%m-%d %H:%M:%S": " ", "%Y-%m-%dT%H:%M:%S": "T"}


def moment(rule: Mapping[str, Any], nulls: frozenset[str]) -> Convert:
    """An ISO time to the second in the offset of `zone:` (+08:00 unless told), also that of bare times."""
    offset = rule.get("zone") or "+08:00"
    read, zone = _moments(rule, nulls, clock=True), zone_of(offset)

    def convert(value: Any) -> str | None:
        found = read(value)
        if found is None:
            return None
        local = found if found.tzinfo is None else found.astimezone(zone).replace(tzinfo=None)
        return local.isoformat(timespec="seconds") + offset

    letters = _QUICK_FORMS.get((rule.get("formats") or ("iso",))[0], "")

    def quick(value: Any) -> str | None:
        """The same for `2026-11-22 17:03:11`, which hardly repeats and is what most tables hold."""
        if type(value) is str and len(value) == 19 and value[10] in letters and value not in nulls:
            try:
                if datetime.fromisoformat(value).isoformat(value[10]) == value:
                    return f"{value[:10]}T{value[11:]}{offset}"
            except (ValueError, TypeError):
                pass
        return convert(value)

    return quick if letters else convert


# --- structures ---


def texts(rule: Mapping[str, Any], nulls: frozenset[str]) -> Convert:
    """A list of texts, in the source's order."""
    split, item = splitter(rule), text(rule, nulls)

    def convert(value: Any) -> list[str] | None:
        return [found for found in map(item, split(value)) if found] or None

    return convert


def finder(path: str) -> Convert:
    """Finds what stands at a JMESPath, plain dotted names without its interpreter. ValueError if none."""
    if re.fullmatch(r"\w+(?:\.\w+)*", path) and not path[0].isdigit():
        names = path.split(".")

        def walk(value: Any) -> Any:
            for name in names:
                if not isinstance(value, dict):
                    return None
                value = value.get(name)
            return value

        return walk
    try:
        compiled = jmespath.compile(path)
    except (JMESPathError, ValueError, RecursionError):
        raise ValueError("not a JMESPath") from None

    def search(value: Any) -> Any:
        try:
            return compiled.search(value)
        except (JMESPathError, RecursionError):
            raise Bad("expected a value that the path can be applied to") from None

    return search


def parse_json(found: str) -> Any:
    """JSON read strictly: numbers with a point stay text, repeated names and NaN are ValueErrors."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        whole = dict(pairs)
        if len(whole) != len(pairs):
            raise ValueError("a name stands twice")
        return whole

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    def whole_number(digits: str) -> Any:
        return int(digits) if len(digits) <= 18 else digits

    try:
        return json.loads(
            found,
            object_pairs_hook=once,
            parse_constant=constant,
            parse_float=str,
            parse_int=whole_number,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def nested(value: Any) -> Any:
    """A nested value as it is, or parsed where it came as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        found = parse_json(value)
        json.dumps(found, ensure_ascii=False).encode()
    except ValueError:  # half a character among them
        raise _expected("JSON", value) from None
    return found


def remembered(convert: Convert, most: int = MEMO) -> Convert:
    """The same transform, answering from memory what short text it has seen lately."""
    seen: dict[str, Any] = {}

    def recall(value: Any) -> Any:
        if type(value) is not str:
            return convert(value)
        found = seen.get(value, _MISSING)
        if found is _MISSING:
            found = convert(value)
            if len(value) <= MEMO_LENGTH:
                if len(seen) >= most:
                    seen.clear()
                seen[value] = found
        return found

    return recall
