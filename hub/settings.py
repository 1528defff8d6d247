"""Settings: the config folder read into frozen values, every problem of every file at once with its line.

Owns hub.yaml, the secrets it refers to, the catalogue of regions, and what only shows when files are held
against each other: codes are members, kinds exist, a name fits its region code. The other files
are read by their own rooms. Secrets are references, env:NAME or file:PATH, read when needed; no message
ever holds one. Relative paths start at the folder that holds hub.yaml.
May never write, and never opens a network connection.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from marshmallow import Schema, ValidationError, fields, validate

from adapters.connection import problems_of
from adapters.declaration import Declaration
from adapters.declaration import load as load_declaration
from adapters.declared import Code, DeclarationError, Doc, Read, did_you_mean, read_yaml
from adapters.declared import check as check_shape
from hub import framework as rules
from hub.errors import ConfigError
from hub.framework import ERASURE, HUB_KINDS, Framework, NameYaml, parse_framework, span_field
from hub.keys import WARN_DAYS, KeyEnd
from hub.kinds import Kind, load_kinds
from hub.note import is_name, parse_vkey
from hub.oidc import Told as OidcTold
from hub.reconcile import deadlines
from hub.reconcile.deadlines import Deadlines, deadlines_of
from hub.reconcile.types import Told, types_of

T = TypeVar("T")

DECISION = "decision/1"
_MOST_SECRET = 64 << 10
_LEAST_AGE = 60
_PATHS = ("directory", "ca_file")
_FILES = (
    "hub.yaml", "framework.yaml", "deadlines.yaml", "catalogue/regions.yaml", "catalogue/items.yaml",
    "catalogue/differences.yaml",
)  # fmt: skip
_reference = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:[^\x00-\x1f]{1,1000}").fullmatch
_host_name = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?").fullmatch


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may take: how many of its nonces are remembered at a time."""

    nonces_per_key: int = 10_000


@dataclass(frozen=True, slots=True)
class HubSettings:
    """hub.yaml. `name` stands in every signature; `head` is the head file, None where the app chooses.

    `passphrase` is a secret's reference, `tiles` says who may read the ledger tiles (members or everybody), `status_page` who
    may read the overview (accounts or everybody). `key_age` is how long a signing key should be in force at most.
    """

    name: str
    public_url: str
    time_zone: str
    host: str
    port: int
    data: Path
    head: Path | None
    passphrase: str
    tiles: str
    status_page: str
    pull_every: timedelta
    adapters: tuple[Path, ...]
    connections: Mapping[str, Mapping[str, Any]]
    limits: Limits
    oidc: OidcTold | None = None
    key_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    `folder` holds hub.yaml, `regions` is region code -> Chinese name, `types` what is told of each type of difference,
    `deadlines` the terms and the calendar they run by, `items` is item code -> the code that stands for it elsewhere.
    """

    folder: Path
    hub: HubSettings
    kinds: Mapping[str, Kind]
    framework: Framework
    declarations: Mapping[str, Declaration]
    regions: Mapping[str, str]
    types: Mapping[str, Told]
    deadlines: Deadlines
    items: Mapping[str, str]

    @property
    def kinds_folder(self) -> Path:
        """Where the kinds are declared."""
        return self.folder / "kinds"

    @property
    def zone(self) -> ZoneInfo:
        """The hub's clock: nights, deadlines and local dates are told in it."""
        return ZoneInfo(self.hub.time_zone)

    def sources(self, origin: str) -> tuple[str, ...]:
        """The codes of the declarations that write this origin's records."""
        return tuple(
            code for code, each in self.declarations.items() if any(origin in feed.origins for feed in each.feeds)
        )

    def connection(self, code: str) -> dict[str, Any]:
        """How a city is reached: what its declaration says, hub.yaml's own values over it, key by key."""
        return dict(self.declarations[code].connection) | dict(self.hub.connections.get(code, {}))

    def http_ends(self, today: date, *, every: bool = False) -> list[KeyEnd]:
        """Until when the members that have no HTTP key without a last day can call; with `every` each last day there is."""
        found = []
        for code, member in self.framework.members.items():
            days = member.http_until.items()
            ends = [KeyEnd(code, "http", parse_vkey(text).handle, last, (last - today).days) for text, last in days]
            if every:
                found += ends
            elif ends and len(ends) == len(member.http_keys):
                found.append(max(ends, key=lambda each: each.last))
        return found

    def secret(self, reference: str) -> str:
        """The secret behind a reference of this configuration; see `secret`."""
        return secret(reference, self.folder)


# --- secrets ---


def is_reference(text: object) -> bool:
    """Whether a value refers to a secret (env:NAME or file:PATH) and is none itself."""
    return isinstance(text, str) and _reference(text) is not None


def secret(reference: str, base: Path) -> str:
    """The secret behind env:NAME or file:PATH (from `base` on); ConfigError names the reference alone."""
    if not is_reference(reference):
        raise ConfigError(["a secret is written as env:NAME or file:PATH; put it there and refer to it"])
    how, _, name = reference.partition(":")
    value = os.environ.get(name, "") if how == "env" else _read_secret(reference, base / name)
    if not value:
        mend = f"export {name}=…" if how == "env" else "write the secret into the file"
        raise ConfigError([f"{reference}: is not set or empty; {mend}"])
    return value


def _read_secret(reference: str, path: Path) -> str:
    try:
        # Mode and content of the same open file: a path could be exchanged between two looks.
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError([f"{reference}: is not a file; name the file that holds the secret alone"])
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError([f"{reference}: others than its owner may read it; run chmod 600 {path}"])
            raw = file.read(_MOST_SECRET + 1)
        text = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigError([f"{reference}: cannot be read ({error.strerror}); check the path and its owner"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{reference}: is not text; write the secret as UTF-8"]) from None
    if len(raw) > _MOST_SECRET:
        raise ConfigError([f"{reference}: is larger than any secret; name the file that holds the secret alone"])
    return text


# --- the shape of hub.yaml ---


def _text(valid: Callable[[str], object], expected: str, **options: Any) -> fields.Field[Any]:
    def judge(value: str) -> None:
        if not valid(value):
            raise ValidationError(f"expected {expected}")

    return fields.String(validate=judge, **options)


def _is_zone(text: str) -> bool:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return bool(_host_name(text))
    return True


def _is_public_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.path in (
        "",
        "/",
    )
    return plain and _is_host(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))


def _is_issuer(text: str) -> bool:
    """A provider's address, which may have a path; plain HTTP is for loopback."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return plain and _is_host(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)))


class _LimitsYaml(Schema):
    nonces_per_key = fields.Integer(strict=True, validate=validate.Range(100, 10_000_000))


class _OidcYaml(Schema):
    issuer = _text(_is_issuer, "the provider's https:// address, as it spells it itself", required=True)
    client_id = fields.String(required=True, validate=validate.Length(1, 255))
    client_secret = _text(is_reference, "a reference env:NAME or file:PATH, never the secret itself", required=True)
    claim = fields.String(validate=validate.Length(1, 100), load_default="preferred_username")
    label = fields.Nested(NameYaml, required=True)


def _age(text: str) -> timedelta:
    age = deadlines.parse_term(text)
    if age.unit != "days" or age.number < _LEAST_AGE:
        raise ValueError
    return age.span()


class _KeysYaml(Schema):
    max_age = Read(_age, f"{_LEAST_AGE} days or more, such as 365 days: the first warning comes {WARN_DAYS[0]} days before")


class _HubYaml(Schema):
    name = _text(
        lambda text: is_name(text) and text.isascii() and len(text) <= 100,
        "a name for the ledger without blank or plus, such as hub.example.cn/ledger",
        required=True,
    )
    public_url = _text(_is_public_url, "https://host[:port] without path or password (http only on loopback)")
    time_zone = _text(_is_zone, "a time zone such as Asia/Shanghai", load_default="Asia/Shanghai")
    host = _text(_is_host, "an address to listen on, such as 127.0.0.1", load_default="127.0.0.1")
    port = fields.Integer(strict=True, validate=validate.Range(0, 65_535), load_default=8470)
    data = _text(len, "a folder", required=True)
    head = _text(len, "a file")
    passphrase = _text(is_reference, "a reference env:NAME or file:PATH, never the passphrase itself", required=True)
    tiles = fields.String(validate=validate.OneOf(("members", "everybody")), load_default="members")
    status_page = fields.String(validate=validate.OneOf(("accounts", "everybody")), load_default="accounts")
    pull_every = span_field(load_default=deadlines.parse_term("30 minutes"))
    adapters = fields.List(_text(len, "a folder or file"), required=True)
    connections = fields.Dict(
        keys=Code(),
        values=fields.Dict(keys=fields.String(), values=fields.Raw(allow_none=True)),
        load_default=dict,
    )
    limits = fields.Nested(_LimitsYaml, load_default=dict)
    oidc = fields.Nested(_OidcYaml)
    keys = fields.Nested(_KeysYaml, load_default=dict)


class _RegionsYaml(Schema):
    regions = fields.Dict(keys=Code(), values=fields.String(), required=True)
    former = fields.Dict(keys=Code(), values=fields.String(), load_default=dict)


# --- reading, everything at once ---


class _Reading:
    """One pass over a config folder: what could be read, None where it could not, and every problem."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.declarations: dict[str, Declaration] = {}
        if not folder.is_dir():
            self.problems.append(f"{folder}: is not a folder; name the one that holds hub.yaml")
            return
        self.docs = {
            name: self._take(partial(read_yaml, folder / name))
            for name in _FILES
        }
        self.kinds = self._take(partial(load_kinds, folder / "kinds"))
        self.deadlines = self._with("deadlines.yaml", lambda doc: deadlines_of(doc, _open_fields(self.kinds)))
        terms = self.deadlines.rules if self.deadlines else None
        self.framework = self._with("framework.yaml", lambda doc: parse_framework(doc, self.kinds, terms))
        self.hub = self._with("hub.yaml", lambda doc: _hub_of(doc, folder))
        self.regions = self._with("catalogue/regions.yaml", _Regions.of)
        self.types = self._with("catalogue/differences.yaml", types_of)
        self.items = self._with("catalogue/items.yaml", _crosswalk)
        if self.hub:
            self._read_declarations(self.hub.adapters)
        self.problems += [*self._check_declarations(), *self._check_connections(), *self._check_regions()]
        self.problems += [*self._check_clocks(), *self._check_settling(), *self._check_retention()]

    def _take(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except DeclarationError as error:
            self.problems += error.problems
            return None

    def _with(self, name: str, read: Callable[[Doc], T]) -> T | None:
        doc = self.docs[name]
        return None if doc is None else self._take(partial(read, doc))

    def _read_declarations(self, places: Iterable[Path]) -> None:
        for path in (path for place in places for path in _declaration_files(place)):
            found = self._take(partial(load_declaration, path))
            if found and (first := self.declarations.setdefault(found.code, found)) is not found:
                mend = "keep one file for each jurisdiction"
                self.problems.append(found.doc.problem(("code",), f"also declared by {first.doc.path}", mend))

    def _check_declarations(self) -> Iterator[str]:
        for declaration in self.declarations.values():
            for n, feed in enumerate(declaration.feeds):
                if self.kinds is not None and feed.kind not in self.kinds:
                    mend = did_you_mean(feed.kind, self.kinds)
                    yield declaration.doc.problem(("feeds", n, "kind"), "no such kind in kinds/", mend)
            if self.framework:
                yield from self._check_origins(declaration, self.framework.members)

    @staticmethod
    def _check_origins(declaration: Declaration, members: Mapping[str, Any]) -> Iterator[str]:
        told = set()
        for n, feed in enumerate(declaration.feeds):
            for origin in feed.origins:
                if origin not in members and origin not in told:
                    told.add(origin)
                    at = ("code",) if origin == declaration.code else ("feeds", n, "origin")
                    mend = did_you_mean(origin, members)
                    yield declaration.doc.problem(at, f"{origin} is no member in framework.yaml", mend)

    def _check_connections(self) -> Iterator[str]:
        doc = self.docs["hub.yaml"]
        if not self.hub or not doc:
            return
        for code in self.hub.connections:
            if code not in self.declarations:
                mend = did_you_mean(code, self.declarations)
                yield doc.problem(("connections", code), "no declaration has this code", mend)

    def _check_regions(self) -> Iterator[str]:
        doc = self.docs["framework.yaml"]
        if not self.framework or not self.regions or not doc:
            return
        for code, member in self.framework.members.items():
            at = ("members", code)
            if not code.isdigit() or self.regions.names.get(code) == member.name["zh"]:
                continue
            if code in self.regions.former:
                yield doc.problem(at, "a region code no longer in use", "write the present one")
            elif code not in self.regions.names:
                mend = did_you_mean(code, self.regions.names) if len(code) in (6, 9, 12) else "it has 6, 9 or 12 digits"
                yield doc.problem(at, "not in catalogue/regions.yaml", mend)
            else:
                mend = f"it names {self.regions.names[code]} there; the code is the identity"
                yield doc.problem((*at, "name", "zh"), "not the name that catalogue/regions.yaml gives this code", mend)

    def _check_clocks(self) -> Iterator[str]:
        doc = self.docs["framework.yaml"]
        if not self.framework or not self.hub or not doc:
            return
        for name, agreement in self.framework.agreements.items():
            if agreement.time_zone != self.hub.time_zone:
                mend = "one hub keeps one clock: write the same time_zone in both"
                yield doc.problem(("agreements", name, "time_zone"), f"hub.yaml says {self.hub.time_zone}", mend)

    def _check_settling(self) -> Iterator[str]:
        doc = self.docs["framework.yaml"]
        if not self.framework or not doc or self.kinds is None or DECISION not in self.kinds:
            return
        reasons = self.kinds[DECISION].codes["reason"]
        for name, agreement in self.framework.agreements.items():
            for type, (_, reason) in agreement.reconcile.settle.items() if agreement.reconcile else ():
                if reason not in reasons:
                    at = ("agreements", name, "reconcile", "settle", type, "reason")
                    yield doc.problem(at, "not a reason of kinds/decision.yaml", did_you_mean(reason, reasons))

    def _check_retention(self) -> Iterator[str]:
        if self.kinds is None or not any(kind.retention for kind in self.kinds.values()):
            return
        reasons = self.kinds[ERASURE].codes["erasure_reason"] if ERASURE in self.kinds else {}
        for doc in map(read_yaml, sorted((self.folder / "kinds").glob("*.yaml"))):
            kind = self.kinds[doc.value["kind"]]
            if kind.retention and kind.name in HUB_KINDS:
                yield doc.problem(("retention",), "what the hub itself says stays on the ledger", "leave it out")
                continue
            for n, rule in enumerate(kind.retention):
                if rule.reason not in reasons:
                    mend = did_you_mean(rule.reason, reasons)
                    yield doc.problem(("retention", n, "reason"), "not a reason of kinds/erasure.yaml", mend)

    def settings(self) -> Settings:
        """What was read; ConfigError with every problem."""
        if self.problems:
            raise ConfigError(self.problems)
        # Without a problem everything was read: this only tells the type checker so.
        if not self.hub or self.kinds is None or not self.framework or not self.regions:
            raise ConfigError([f"{self.folder}: cannot be read"])
        if not self.types or not self.deadlines or self.items is None:
            raise ConfigError([f"{self.folder}: cannot be read"])
        return Settings(
            self.folder, self.hub, self.kinds, self.framework, self.declarations, self.regions.names, self.types,
            self.deadlines, self.items,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Regions:
    """catalogue/regions.yaml: the codes in use with their names, and codes no longer in use."""

    names: Mapping[str, str]
    former: Mapping[str, str]

    @classmethod
    def of(cls, doc: Doc) -> "_Regions":
        read = check_shape(doc, _RegionsYaml())
        return cls(read["regions"], read["former"])


def _open_fields(kinds: Mapping[str, Kind] | None) -> deadlines.OpenFields | None:
    """The open fields of each kind; None where the kinds could not be read."""
    if kinds is None:
        return None
    return {name: {key: field for key, field in kind.fields.items() if field.is_open} for name, kind in kinds.items()}


class _SameYaml(Schema):
    label = fields.String(required=True)
    codes = fields.List(Code(), required=True, validate=validate.Length(2))


class _ItemsYaml(Schema):
    same = fields.List(fields.Nested(_SameYaml), required=True)


def _crosswalk(doc: Doc) -> dict[str, str]:
    """Item code -> the first of its row in catalogue/items.yaml; DeclarationError where a code stands in two rows."""
    found: dict[str, str] = {}
    problems = []
    for n, row in enumerate(check_shape(doc, _ItemsYaml())["same"]):
        for m, code in enumerate(row["codes"]):
            at = ("same", n, "codes", m)
            if not re.fullmatch(r"[0-9]{14}", code):
                problems.append(doc.problem(at, "not an item code", "it has 14 digits"))
            elif code in found:
                problems.append(doc.problem(at, "stands in the table already", "keep one row for what is the same"))
            found.setdefault(code, row["codes"][0])
    if problems:
        raise DeclarationError(problems)
    return found


def _declaration_files(place: Path) -> list[Path]:
    return [place] if place.suffix == ".yaml" else sorted(place.glob("*.yaml"))


def _hub_of(doc: Doc, folder: Path) -> HubSettings:
    read = check_shape(doc, _HubYaml())
    problems = list(_hub_problems(doc, read, folder))
    if problems:
        raise DeclarationError(problems)
    head = read.get("head")
    return HubSettings(
        name=read["name"],
        public_url=_public_url(read).rstrip("/"),
        time_zone=read["time_zone"],
        host=read["host"],
        port=read["port"],
        data=_path(folder, read["data"]),
        head=None if head is None else _path(folder, head),
        passphrase=read["passphrase"],
        tiles=read["tiles"],
        status_page=read["status_page"],
        pull_every=read["pull_every"].span(),
        adapters=tuple(_path(folder, place) for place in read["adapters"]),
        connections={code: _resolved(values, folder) for code, values in read["connections"].items()},
        limits=Limits(**read["limits"]),
        oidc=OidcTold(**read["oidc"]) if "oidc" in read else None,
        key_age=read["keys"].get("max_age"),
    )


def _public_url(read: Mapping[str, Any]) -> str:
    host = f"[{read['host']}]" if ":" in read["host"] else read["host"]
    return str(read.get("public_url", f"http://{host}:{read['port']}"))


def _path(folder: Path, text: str) -> Path:
    return Path(os.path.normpath(folder / Path(text).expanduser()))


def _resolved(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    def from_here(key: str, value: Any) -> bool:
        return key in _PATHS and isinstance(value, str) and not is_reference(value)

    return {key: str(_path(folder, value)) if from_here(key, value) else value for key, value in values.items()}


def _hub_problems(doc: Doc, read: Mapping[str, Any], folder: Path) -> Iterator[str]:
    if "public_url" not in read and not _is_loopback(read["host"]):
        mend = "write the https address by which partners reach this hub"
        yield doc.problem(("public_url",), "is missing, and the hub listens beyond this machine", mend)
    data = _path(folder, read["data"])
    if "head" in read and _path(folder, read["head"]).is_relative_to(data):
        mend = "keep it on another disk or at least in another folder, so that a restored backup shows"
        yield doc.problem(("head",), "the head file lies inside the data folder", mend)
    for n, text in enumerate(read["adapters"]):
        place = _path(folder, text)
        if not _declaration_files(place) or not place.exists():
            yield doc.problem(("adapters", n), "no folder with declarations, and no .yaml file", "mend the path")
    for code, values in read["connections"].items():
        for key, what in problems_of(values).items():
            yield doc.problem(("connections", code, key), what)


def load(config: Path) -> Settings:
    """The configuration of a folder; ConfigError with every problem of every file at once."""
    return _Reading(config).settings()


def check(config: Path, on: date | None = None) -> tuple[list[str], list[str]]:
    """Every problem of a config folder, and what is worth knowing without being one (today, or on a date)."""
    reading = _Reading(config)
    if reading.problems:
        return reading.problems, []
    settings = reading.settings()
    today = on or datetime.now(settings.zone).date()
    told = rules.notes(settings.framework, today, settings.deadlines)
    return [], [*_notes(settings, today), *told, *deadlines.notes(settings.deadlines, today)]


def _notes(settings: Settings, today: date) -> Iterator[str]:
    if settings.hub.name.split("/")[0].endswith(".example"):
        mend = "choose your own before the first start, it stands in every signature"
        yield f"hub.yaml: name is the example's; {mend} · 请更改平台名称"
    how, _, name = settings.hub.passphrase.partition(":")
    if how == "env" and not os.environ.get(name):
        yield f"hub.yaml: {settings.hub.passphrase} is not set here · 环境变量未设置"
    for end in settings.http_ends(today):
        if end.words is not None:
            yield f"{end.owner}: {end.words['en']} · {end.words['zh']}"
    for kind in settings.kinds.values():
        for rule in kind.retention:
            yield f"{kind.name}: {rule} · 到期自动删除"
    for code, member in settings.framework.members.items():
        if member.custody == "custodial" and not settings.sources(code):
            name = f"{member.name['en']} {code}"
            yield f"{name} is custodial, but no declaration reads it · 代管成员没有数据接入声明"
