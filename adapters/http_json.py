"""A city's HTTP API that answers with JSON: pages of rows, whole or from a cursor on.

Owns paging and the reading of answers; `fetch` owns the wire, `gateways` the signatures. One
request a page, no retries: Retry and Look say what is to be done. Numbers with a point stay text. A
page that repeats, a total that shrinks while it is read and more pages than declared are refused,
so a read ends, and ends whole or not at all.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urljoin, urlsplit

from marshmallow import Schema, ValidationError, fields, validate

from adapters import cursor as cursors
from adapters.base import Look, Page, Retry, Row, Source, faulty
from adapters.connection import Connection
from adapters.declared import Span
from adapters.fetch import Fetcher, Reply, Request, judge, said_by
from adapters.gateways import OPTIONS, authenticator, plain_or_none
from adapters.transforms import finder, kind_of, parse_json

# --- the shape of `source:` ---


class _JmesPath(fields.String):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        path = str(super()._deserialize(value, attr, data, **kwargs))
        try:
            finder(path)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        return path


class _Scalar(fields.Field[Any]):
    """Text, a whole number or a boolean."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, (str, int)):
            raise ValidationError("expected text, a whole number, true or false")
        return value


class _SinglePage(Schema):
    pass


class _PageNumber(Schema):
    page_param = fields.String(load_default="page")
    size_param = fields.String()
    size = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))
    start = fields.Integer(strict=True, load_default=1)


class _Offset(Schema):
    offset_param = fields.String(load_default="offset")
    limit_param = fields.String(load_default="limit")
    limit = fields.Integer(strict=True, required=True, validate=validate.Range(min=1, max=100_000))


class _CursorPages(Schema):
    cursor = _JmesPath(required=True)
    cursor_param = fields.String(required=True)
    limit_param = fields.String()
    limit = fields.Integer(strict=True, validate=validate.Range(min=1, max=100_000))


class _JsonLink(Schema):
    next = _JmesPath(required=True)


PAGINATORS: dict[str, type[Schema]] = {
    "single_page": _SinglePage,
    "page_number": _PageNumber,
    "offset": _Offset,
    "cursor": _CursorPages,
    "json_link": _JsonLink,
    "header_link": _SinglePage,
}


class _Paginator(fields.Field[dict[str, Any]]):
    """{type: …} and the options of that type."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or value.get("type") not in PAGINATORS:
            raise ValidationError(f"expected type: one of {', '.join(PAGINATORS)}")
        rest = {name: each for name, each in value.items() if name != "type"}
        return {"type": value["type"], **PAGINATORS[value["type"]]().load(rest)}


class _Success(Schema):
    path = _JmesPath(required=True)
    value = fields.String(required=True)


class _Incremental(Schema):
    cursor = _JmesPath(required=True)
    param = fields.String(required=True)
    initial = fields.String()
    lag = Span()


class _Inventory(Schema):
    path = fields.String(required=True, validate=validate.Regexp(r"\A/[^?#\s]*\Z", error="expected a path from /"))
    records = _JmesPath()
    by = fields.String(required=True)
    version = fields.String(required=True)
    param = fields.String(required=True)
    most = fields.Integer(strict=True, load_default=100, validate=validate.Range(min=1, max=1000))


class SourceYaml(Schema):
    path = fields.String(required=True, validate=validate.Regexp(r"\A/[^?#\s]*\Z", error="expected a path from /"))
    method = fields.String(load_default="GET", validate=validate.OneOf(("GET", "POST")))
    send = fields.String(validate=validate.OneOf(("query", "json", "form")))
    params = fields.Dict(keys=fields.String(), values=_Scalar(), load_default=dict)
    auth = fields.String(load_default="none")
    auth_options = fields.Dict(keys=fields.String(), load_default=dict)
    records = _JmesPath(required=True)
    total = _JmesPath()
    paginator = _Paginator(load_default=lambda: {"type": "single_page"})
    incremental = fields.Nested(_Incremental)
    inventory = fields.Nested(_Inventory)
    success = fields.Nested(_Success)
    timeout = Span()
    max_bytes = fields.Integer(strict=True, load_default=32 << 20, validate=validate.Range(min=1))
    max_pages = fields.Integer(strict=True, load_default=10_000, validate=validate.Range(min=1))

    def load(self, *args: Any, **options: Any) -> Any:
        loaded: dict[str, Any] = super().load(*args, **options)
        if loaded["auth"] not in OPTIONS:
            raise ValidationError({"auth": [f"expected one of {', '.join(OPTIONS)}"]})
        try:
            loaded["auth_options"] = OPTIONS[loaded["auth"]]().load(loaded["auth_options"])
        except ValidationError as error:
            raise ValidationError({"auth_options": error.messages}) from None
        return loaded


# --- paging ---


class Step(NamedTuple):
    """What the next request adds: parameters, or a link to follow instead."""

    params: Mapping[str, Any]
    link: str | None = None


class _Answer(NamedTuple):
    reply: Reply
    content: Any
    rows: list[Row]
    total: int | None


class _Pager:
    """Decides on the next step of one read, by the paginator's type."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options, self._type = options, options["type"]
        self._find = finder(options["cursor"] if self._type == "cursor" else options.get("next", "next"))
        self._page = options.get("start", 1)
        self._seen = 0
        self._total: int | None = None
        self._tokens: set[str] = set()

    def first(self) -> Step:
        return Step(self._counted())

    def _counted(self) -> dict[str, Any]:
        options = self._options
        if self._type == "page_number":
            sized = {options["size_param"]: options["size"]} if {"size", "size_param"} <= options.keys() else {}
            return {options["page_param"]: self._page, **sized}
        if self._type == "offset":
            return {options["offset_param"]: self._seen, options["limit_param"]: options["limit"]}
        if self._type == "cursor" and {"limit", "limit_param"} <= options.keys():
            return {options["limit_param"]: options["limit"]}
        return {}

    def next(self, answer: _Answer) -> Step | None:
        """The step after an answer, None at the end; Retry where rows went missing between two pages."""
        self._seen += len(answer.rows)
        where = answer.reply.where
        if self._total is not None and answer.total is not None and answer.total < self._total:
            raise Retry(where, f"the list shrank from {self._total} to {answer.total} rows while it was read")
        self._total = answer.total if answer.total is not None else self._total
        step = self._step(answer)
        if step is None and self._total is not None and self._seen < self._total:
            raise Retry(where, f"{self._seen} rows came of the {self._total} it speaks of")
        return step

    def _step(self, answer: _Answer) -> Step | None:
        if self._type in ("page_number", "offset"):
            if not answer.rows or (self._total is not None and self._seen >= self._total):
                return None
            self._page += 1
            return Step(self._counted())
        if self._type == "cursor":
            token = self._token(answer, self._find(answer.content))
            return Step({**self._counted(), self._options["cursor_param"]: token}) if token else None
        if self._type == "json_link":
            link = self._token(answer, self._find(answer.content))
            return Step({}, link) if link else None
        if self._type == "header_link":
            link = self._token(answer, _next_of(answer.reply.headers))
            return Step({}, link) if link else None
        return None

    def _token(self, answer: _Answer, value: Any) -> str | None:
        token = plain_or_none(value)
        if token and token in self._tokens:
            raise Look(answer.reply.where, "the paging leads back to a page already read", "check paginator:")
        self._tokens.add(token or "")
        return token or None


def _next_of(headers: Mapping[str, str]) -> str | None:
    import requests.utils

    for link in requests.utils.parse_header_links({k.lower(): v for k, v in headers.items()}.get("link", "")):
        if link.get("rel") == "next":
            return str(link["url"])
    return None


# --- the source ---


class HttpJson:
    """One feed read from a JSON API."""

    def __init__(self, options: Mapping[str, Any], connection: Connection) -> None:
        timeout = options["timeout"].total_seconds() if "timeout" in options else 30.0
        self._options, self._now = options, connection.now
        self._fetcher = Fetcher(connection, timeout, options["max_bytes"])
        self._auth = authenticator(options["auth"], options["auth_options"], connection, self._fetcher)
        self._read = _Reader(options)

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """One page of the API after another; the last carries the cursor reached."""
        try:
            yield from self._pages(cursor)
        finally:
            self._fetcher.close()

    def listing(self) -> Iterator[Page]:
        """The rows of the path that `inventory:` names."""
        inventory = self._options["inventory"]
        other = {"path": inventory["path"], "records": inventory.get("records", self._options["records"])}
        yield from self._with(other).pages(None)

    def fetch(self, rows: Sequence[Row]) -> Iterator[Page]:
        """The whole rows with these values of `by:`, some of them a request, with commas between."""
        inventory = self._options["inventory"]
        values = list(dict.fromkeys(str(row.data[inventory["by"]]) for row in rows))
        for n in range(0, len(values), inventory["most"]):
            asked = {inventory["param"]: ",".join(values[n : n + inventory["most"]])}
            yield from self._with({"params": {**self._options["params"], **asked}}).pages(None)

    def _with(self, options: Mapping[str, Any]) -> "HttpJson":
        """The same API, signed in as it is, asked for something else and never from a cursor on."""
        other = copy.copy(self)
        other._options = {**self._options, **options, "incremental": None}
        other._read = _Reader(other._options)
        return other

    def _pages(self, cursor: str | None) -> Iterator[Page]:
        pager, since, reached = _Pager(self._options["paginator"]), self._since(cursor), cursor
        step, met, most = pager.first(), set[bytes](), self._options["max_pages"]
        for number in range(1, most + 1):
            answer = self._ask(step, since, number)
            _refuse_repeat(answer, met)
            for row in answer.rows:
                reached = cursors.higher(reached, self._read.cursor_of(row))
            following = pager.next(answer)
            if following is None:
                yield Page(answer.rows, cursors.not_after(reached, self._now()) if reached else None)
                return
            yield Page(answer.rows)
            step = following
        raise Look(self._fetcher.host, f"more than {most} pages", "raise max_pages:, or check paginator:")

    def _since(self, cursor: str | None) -> dict[str, str]:
        incremental = self._options.get("incremental")
        if not incremental:
            return {}
        start = cursors.back(cursor, incremental.get("lag")) if cursor else incremental.get("initial")
        return {incremental["param"]: start} if start else {}

    def _ask(self, step: Step, since: Mapping[str, str], number: int) -> _Answer:
        request = self._request(step, since)
        for again in (True, False):
            reply = self._fetcher.send(self._auth.sign(request))
            content = self._read.parsed(reply) if reply.status == 200 else None
            refused = reply.status in (401, 403) or (content is not None and self._read.failed(content))
            if not (refused and again and self._auth.renew()):
                break
        judge(reply)
        return self._read.answer(reply, content, f"page {number}")

    def _request(self, step: Step, since: Mapping[str, str]) -> Request:
        options, path = self._options, self._fetcher.prefix + self._options["path"]
        style = options.get("send") or ("query" if options["method"] == "GET" else "json")
        if step.link is None:
            return Request(options["method"], path, {**options["params"], **since, **step.params}, {}, style)
        link = urlsplit(urljoin(self._fetcher.host + path, step.link))
        if f"{link.scheme}://{link.netloc}" != self._fetcher.host:
            raise Look(self._fetcher.host, "the next page's link leads to another server", "check paginator:")
        return Request("GET", link.path, dict(parse_qsl(link.query, keep_blank_values=True)), {})


def _refuse_repeat(answer: _Answer, met: set[bytes]) -> None:
    if not answer.rows:
        return
    digest = sha256(json.dumps([row.data for row in answer.rows]).encode()).digest()
    if digest in met:
        raise Look(
            answer.reply.where,
            "a page repeats: the paging is not heeded",
            "check paginator:, or declare total:",
        )
    met.add(digest)


class _Reader:
    """Reads answers: success, rows, total, cursor values."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._records = finder(options["records"])
        self._total = finder(options["total"]) if "total" in options else None
        success, incremental = options.get("success"), options.get("incremental")
        self._success = (finder(success["path"]), success["value"]) if success else None
        self._cursor = finder(incremental["cursor"]) if incremental else None

    def parsed(self, reply: Reply) -> Any:
        """The answer as JSON, strictly; Look where it is none."""
        try:
            return parse_json(reply.body.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise Look(reply.where, "the answer is not UTF-8") from None
        except ValueError as error:
            what = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise Look(reply.where, f"the answer is not whole JSON ({what})") from None

    def failed(self, content: Any) -> bool:
        """Whether an answer says by its code that it failed."""
        return bool(self._success and plain_or_none(self._success[0](content)) != self._success[1])

    def answer(self, reply: Reply, content: Any, place: str) -> _Answer:
        """The rows of an answer; Look where it failed or has another shape than declared."""
        if self.failed(content):
            raise Look(reply.where, f"refused by its code{said_by(reply)}", "check keys, rights and success:")
        total = self._count(reply, content)
        found = self._records(content)
        if found is None and total == 0:
            found = []
        if not isinstance(found, list):
            what = f"expected a list at {self._options['records']}, found "
            raise Look(reply.where, what + ("nothing" if found is None else kind_of(found)), "mend records:")
        halves = b"\\u" in reply.body
        return _Answer(
            reply,
            content,
            [_row(each, f"{place} row {n}", halves) for n, each in enumerate(found, 1)],
            total,
        )

    def _count(self, reply: Reply, content: Any) -> int | None:
        if self._total is None:
            return None
        count = plain_or_none(self._total(content))
        if count is None or not count.isascii() or not count.isdigit():
            raise Look(reply.where, f"expected a whole number at {self._options['total']}", "mend total:")
        return int(count)

    def cursor_of(self, row: Row) -> str | None:
        return plain_or_none(self._cursor(dict(row.data))) or None if self._cursor else None


def _row(item: Any, where: str, halves: bool) -> Row:
    if not isinstance(item, dict):
        return faulty(where, f"expected a map, found {kind_of(item)}")
    if halves:
        try:
            json.dumps(item, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return faulty(where, "holds half a character (a lone surrogate)")
    return Row(item, where)


class _Sample:
    """One answer of the API in a file."""

    def __init__(self, options: Mapping[str, Any], path: Path) -> None:
        self._read, self._path = _Reader(options), path

    def pages(self, cursor: str | None) -> Iterator[Page]:
        try:
            body = self._path.read_bytes()
        except OSError as error:
            raise Look(self._path.name, f"cannot be read ({type(error).__name__})") from None
        reply = Reply(self._path.name, 200, {}, body)
        yield Page(self._read.answer(reply, self._read.parsed(reply), self._path.name).rows)


def source(options: Mapping[str, Any], connection: Connection, columns: set[str]) -> Source:
    """The API as a source; columns are not known before its rows, so none is demanded of it."""
    return HttpJson(options, connection)


def sample(options: Mapping[str, Any], path: Path, columns: set[str]) -> Source:
    """A saved answer as a source."""
    return _Sample(options, path)
