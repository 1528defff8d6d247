"""How one feed's system is reached: addresses as declared, secrets only by reference.

Owns the resolution of `connection:`. Nothing is looked up until a transport asks, and no secret
ever stands in an error. A value of the form env:NAME or file:PATH is a reference; what is not in
PLAIN must be one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from adapters.base import Look

PLAIN = ("base_url", "directory", "database", "ca_file", "proxy")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*")


def problems_of(connection: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values of a `connection:`, by name; never with a value in it."""
    return {name: found for name, value in connection.items() if (found := _problem(name, value))}


def _problem(name: str, value: Any) -> str:
    if value is None or (isinstance(value, str) and _REFERENCE.fullmatch(value)):
        return ""
    if not isinstance(value, str) or not value:
        return "expected text"
    if name not in PLAIN:
        return "a literal secret; write env:NAME or file:PATH and keep the secret there"
    try:
        literal = name in ("base_url", "proxy", "database") and urlsplit(value).password is not None
    except ValueError:
        return "not an address"
    if literal:
        return "a password in the address; write the whole address as env:NAME or file:PATH"
    if name in ("base_url", "proxy") and urlsplit(value).scheme not in ("http", "https"):
        return "expected an address with http:// or https://"
    return ""


@dataclass(frozen=True)
class Connection:
    """One feed's connection: `where` names it in errors ("330483 cases"), relative paths start at `base`."""

    where: str
    values: Mapping[str, Any]
    secret: Callable[[str], str]
    now: Callable[[], datetime]
    base: Path

    def get(self, name: str) -> str | None:
        """The value of a name, its reference resolved; None where there is none, Look where it fails."""
        value = self.values.get(name)
        if value is None:
            return None
        if problem := _problem(name, value):
            raise Look(self.where, f"connection.{name}: {problem}")
        if not _REFERENCE.fullmatch(value):
            return str(value)
        try:
            return self.secret(value)
        except Exception as error:  # what a resolver raises is its caller's; its text may hold the secret's place only
            kind = type(error).__name__
            raise Look(self.where, f"connection.{name}: {value} cannot be resolved ({kind})", "set it") from None

    def need(self, name: str) -> str:
        """The value of a name; Look where there is none."""
        value = self.get(name)
        if not value:
            mend = f"set it in the declaration or under connections: in hub.yaml, such as {name}: …"
            raise Look(self.where, f"connection.{name} is missing", mend)
        return value

    def folder(self) -> Path:
        """The folder that `directory` names."""
        return self.base / self.need("directory")
