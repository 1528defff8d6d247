"""The ledger's tiles over HTTP, at the paths of C2SP tlog-tiles v0.1.0; bytes pass through unread.

Rule 1. A path has one spelling; whatever else it is, a traversal included, is simply not found.
Rule 2. A tile, once there, never changes: it may be kept for ever. The checkpoint may be kept for seconds.
Rule 3. Nothing is served that a published checkpoint does not commit to; the Desk answers None for it.
"""

import re
from typing import Any, NamedTuple

from flask import Response, request
from flask_smorest import Blueprint

from hub.errors import NotFound
from hub.web.api import Answer, Desk, add, path_parameter
from hub.wire import etag

FULL = 256

_number = r"((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
_tile = re.compile(rf"([0-9]|[1-5][0-9]|6[0-3])/{_number}").fullmatch
_bundle = re.compile(rf"entries/{_number}").fullmatch


class Place(NamedTuple):
    """Where a tile stands; `level` is None for an entry bundle, `width` 256 for a full tile."""

    level: int | None
    number: int
    width: int


def parse(path: str) -> Place | None:
    """The place that a path below /ledger/tile/ names, or None unless it is its one spelling."""
    if found := _tile(path):
        return _place(int(found[1]), found[2], found[3])
    if found := _bundle(path):
        return _place(None, found[1], found[2])
    return None


def _place(level: int | None, groups: str, partial: str | None) -> Place | None:
    width = int(partial or FULL)
    # A leading group of zeros would be a second spelling of the same number.
    if groups.startswith("x000/") or (partial and width >= FULL):
        return None
    return Place(level, int(groups.replace("x", "").replace("/", "")), width)


def blueprint(desk: Desk, everybody: bool) -> Any:
    """The routes below /ledger; `everybody` says whether caches may be shared."""
    blp = Blueprint("ledger", __name__, url_prefix="/ledger", description="The log: its checkpoint and tiles")
    shared = "public" if everybody else "private"
    _checkpoint(blp, desk, shared)
    _witnessed(blp, desk, shared)
    _tiles(blp, desk, f"{shared}, max-age=31536000, immutable")
    return blp


def _checkpoint(blp: Any, desk: Desk, shared: str) -> None:
    def checkpoint() -> Response:
        """The published checkpoint

        Two copies of the ledger are equal exactly when their checkpoints are.
        """
        body = desk.checkpoint()
        tag = etag(body)
        headers = {"ETag": tag, "Cache-Control": f"{shared}, max-age=2"}
        if request.if_none_match.contains_weak(tag.strip('"')):
            return Response(status=304, headers=headers)
        return Response(body, content_type="text/plain; charset=utf-8", headers=headers)

    tags = {"ETag": {"schema": {"type": "string"}, "description": "SHA-256 of the body, in hex and quotes"}}
    text = Answer(200, "The checkpoint, a signed note", {"type": "string"}, "text/plain", tags)
    same = Answer(304, "The checkpoint that If-None-Match names is still the published one")
    add(blp, "/checkpoint", checkpoint, (text, same), (401,))


def _witnessed(blp: Any, desk: Desk, shared: str) -> None:
    def witnessed() -> Response:
        """The newest checkpoint that a quorum of witnesses cosigned

        With it go the cosignature lines (C2SP tlog-cosignature); later entries are not yet vouched for by others.
        """
        body = desk.witnessed()
        if body is None:
            raise NotFound("no quorum of witnesses has cosigned yet")
        return Response(body, content_type="text/plain; charset=utf-8", headers={"Cache-Control": f"{shared}, max-age=2"})

    text = Answer(200, "The checkpoint with its cosignatures", {"type": "string"}, "text/plain")
    add(blp, "/witnessed", witnessed, (text,), (401, 404))


def _tiles(blp: Any, desk: Desk, cache: str) -> None:
    def find(place: Place | None) -> bytes | None:
        if place is None:
            return None
        if place.level is None:
            return desk.entry_bundle(place.number, place.width)
        return desk.tile(place.level, place.number, place.width)

    def tile(place: str) -> Response:
        """A tile of hashes, or a bundle of entries"""
        body = find(parse(place))
        if body is None:
            raise NotFound("no such tile", mend="ask for tiles of the published checkpoint, in their one spelling")
        return Response(body, content_type="application/octet-stream", headers={"Cache-Control": cache})

    where = path_parameter(
        "place",
        "`<L>/<N>[.p/<W>]` for hashes, `entries/<N>[.p/<W>]` for entries; N in groups of three digits, all "
        "but the last with an x before (C2SP tlog-tiles)",
        "0/x001/x234/067",
        pattern=r"^([0-9]{1,2}|entries)/(x[0-9]{3}/)*[0-9]{3}(\.p/[0-9]{1,3})?$",
    )
    raw = Answer(
        200,
        "Hashes of 32 bytes each, or entries, each after its length as a big-endian uint16",
        {"type": "string", "contentMediaType": "application/octet-stream"},
        "application/octet-stream",
    )
    add(blp, "/tile/<path:place>", tile, (raw,), (401, 404), parameters=(where,))
