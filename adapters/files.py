"""Files that a city drops into a folder: which of them are meant, and reading no more than is allowed.

Owns no format. A name is never a path: a pattern stays within its folder, and links out of it are
refused. The newest file is the last by name, digits read as numbers (CF_2 before CF_10): names are
set by the city, times by whoever copies.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from marshmallow import fields, validate

from adapters.base import Look, Retry
from adapters.connection import Connection


def pattern_field() -> fields.String:
    """A file name with * and ?, no folder in it."""
    judge = validate.Regexp(r"\A[^/\\\x00]+\Z", error='expected a file name such as "CF_*.csv", without a folder')
    return fields.String(required=True, validate=judge)


def natural(name: str) -> tuple[Any, ...]:
    """Sorts names with their digits read as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((int(part), part) if n % 2 else (0, part) for n, part in enumerate(parts))


def chosen(options: Mapping[str, Any], connection: Connection) -> list[Path]:
    """The files that `pattern:` and `pick:` mean, by name; Retry where there is no folder or no file."""
    folder = connection.folder()
    try:
        names = [each.name for each in folder.iterdir() if fnmatchcase(each.name, options["pattern"])]
    except OSError as error:
        reason = type(error).__name__
        raise Retry(connection.where, f"its folder cannot be read ({reason})", "check connection.directory") from None
    if not names:
        raise Retry(
            connection.where,
            f"no file {options['pattern']} in its folder",
            "wait for the city's drop, or mend pattern:",
        )
    names.sort(key=natural)
    return [folder / name for name in (names if options["pick"] == "all" else names[-1:])]


@contextmanager
def opened(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """The file, open for reading, of no more than `max_bytes`; Look where it is more or cannot be read."""
    where = path.name
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise Look(where, "a link out of its folder", "put the file itself there")
    if path.exists() and not path.is_file():
        raise Look(where, "is no plain file")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise Retry(where, "is gone") from None
    except OSError as error:
        raise Look(where, f"cannot be read ({type(error).__name__})", "check its owner and mode") from None
    with file:
        if path.stat().st_size > max_bytes:
            raise Look(where, f"larger than {max_bytes} bytes", "split it, or raise max_bytes:")
        yield file


def positive(default: int) -> fields.Integer:
    """A limit."""
    return fields.Integer(strict=True, load_default=default, validate=validate.Range(min=1))
