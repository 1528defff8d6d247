"""The partner API below /v1: it hands authenticated bytes to the Desk and renders its answers; no rules.

Rule 1. Whoever calls was authenticated before a view runs; `g.owner` is the owner of the key that signed.
Rule 2. A body reaches the Desk as the bytes received: no parser of Flask ever sees it.
Rule 3. Every refusal is one problem object. A record withheld and a record unknown give the same bytes.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from flask import Response, g, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from hub.canonical import b64, unb64url
from hub.errors import ChainError, HubError, KeyRefused, NotFound, Problem

BATCH_TYPE = "application/vnd.crossregion.batch"
LINES_TYPE = "application/x-ndjson"
NOTE_TYPE = "text/plain"
FILE_TYPE = "application/octet-stream"

_number = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch


class Desk(Protocol):
    """What the web may ask of the hub; every rule is behind it. `owner` is the authenticated caller."""

    def checkpoint(self) -> bytes:
        """The published checkpoint: a signed note with every cosignature that was collected."""
        ...

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """`width` hashes (1 to 256) of 32 bytes, or None where the published checkpoint has no such tile."""
        ...

    def entry_bundle(self, index: int, width: int) -> bytes | None:
        """`width` entries (1 to 256), each a big-endian uint16 length and its bytes, or None."""
        ...

    def push(self, owner: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """201 and a new receipt, or 200 and the receipt given before; raises HubError for a refusal."""
        ...

    def entries(self, owner: str, after: int, notice: int, root: str = "") -> bytes:
        """NDJSON of the entries from index `after` on, and of the notices above `notice`; `root` is the caller's."""
        ...

    def witnessed(self) -> bytes | None:
        """The newest checkpoint that a quorum of witnesses cosigned, with their lines; None before the first."""
        ...

    def target(self) -> bytes:
        """The checkpoint that witnesses are asked to cosign."""
        ...

    def cosign(self, owner: str, raw: bytes) -> dict[str, Any]:
        """Take the caller's cosignature of a checkpoint; gives how far the ledger is witnessed."""
        ...

    def framework(self, owner: str) -> dict[str, Any]:
        """The agreements as this caller sees them, the kinds and the key chains."""
        ...

    def evidence(self, owner: str, kind: str, origin: str, id: str) -> dict[str, Any]:
        """The evidence bundle of the record's current revision; NotFound where unknown or withheld."""
        ...

    def attach(self, owner: str, kind: str, origin: str, id: str, content: bytes) -> tuple[int, dict[str, Any]]:
        """201 and what was kept, or 200 where it was there; raises HubError for a refusal."""
        ...

    def attachment(self, owner: str, kind: str, origin: str, id: str, digest: str) -> bytes:
        """What an attachment holds; NotFound where unknown or withheld."""
        ...


# --- what the document says of the answers ---


class ProblemItem(Schema):
    where = fields.String(required=True, metadata={"description": "Line, record or field"})
    what = fields.String(required=True, metadata={"description": "What is wrong; never the value itself"})
    mend = fields.String(required=True, metadata={"description": "How to mend it; may be empty"})


class Expected(Schema):
    seq = fields.Integer(required=True, metadata={"description": "The seq of the entry that would continue the chain"})
    prev = fields.String(required=True, metadata={"description": "SHA-256 of the last entry's text, base64"})


class ProblemSchema(Schema):
    """What is wrong, where, and how to mend it."""

    error = fields.String(
        required=True, metadata={"description": "The class of error, snake case", "example": "gap_error"}
    )
    what = fields.String(required=True)
    mend = fields.String(required=True)
    problems = fields.List(fields.Nested(ProblemItem), required=True, metadata={"description": "Every problem found"})
    expected = fields.Nested(Expected, metadata={"description": "Only with 409"})


def _object(description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": True,
    }


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _count(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "description": description}


def _each(items: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "array", "items": items, "description": description}


_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}
_TEXT: dict[str, Any] = {"type": "string"}
_PROOF = _text("A C2SP tlog-proof (c2sp.org/tlog-proof@v1) with its checkpoint")
_NOTES = _each(_TEXT, "The key/v1 notes, the first one first")

_RECEIPT = _object(
    "The hub's promise that the entry is on the ledger",
    index=_count("The entry's index on the ledger"),
    origin=_text("Whose entry it is"),
    seq=_count("Its place in that origin's chain"),
    receipt=_PROOF,
)
_FRAMEWORK = _object(
    "The framework as the caller sees it",
    hub=_text("The hub's name, the first word of every entry"),
    member=_text("The caller's code"),
    on={"type": "string", "format": "date"},
    agreements=_each(_OBJECT, "The caller's agreements: members, what it receives and gives, with the clauses"),
    pins={
        **_OBJECT,
        "additionalProperties": _TEXT,
        "description": "Origin to the SHA-256 of its first key/v1",
    },
    kinds={**_OBJECT, "description": "Kind to its JSON Schema (2020-12)"},
    keys={**_OBJECT, "additionalProperties": _NOTES, "description": "Origin to its key entries"},
    custody={**_OBJECT, "additionalProperties": {"enum": ["custodial", "self"]}},
    witnesses={"type": ["object", "null"], "description": "Whose cosignatures a checkpoint needs, and how many"},
)
_WITNESSED = _object(
    "How far witnesses vouch for the ledger",
    quorum=_count("How many cosignatures a checkpoint needs; 0 where no witness is declared"),
    size=_count("The size of the newest checkpoint with that many"),
    by=_each(_TEXT, "Who cosigned it"),
    since={"type": ["string", "null"], "description": "The time of the first entry that no quorum has seen"},
    witnesses=_each(_OBJECT, "Each witness, and the largest size it cosigned"),
)
_EVIDENCE = _object(
    "What proves one record offline",
    bundle=_text("The bundle's format"),
    record=_text("The record's exact canonical bytes"),
    disclosures=_each(_TEXT, "RFC 9901 disclosures of the groups the caller may see"),
    path=_object(
        "From the record to the batch's root",
        index=_count("The record's place in the batch"),
        count=_count("How many records the batch has"),
        hashes=_each(_TEXT, "RFC 6962 inclusion path, base64"),
    ),
    note=_text("The batch/v1 note"),
    keys=_NOTES,
    proof=_PROOF,
    clauses=_each(_TEXT, "The clauses by which the caller sees it"),
    custody={"enum": ["custodial", "self"]},
)
_KEPT = _object(
    "A file that is kept",
    sha256=_text("Its SHA-256 in small hex, by which the record names it"),
    size=_count("Its size in bytes"),
)


# --- problems ---


def problem(
    status: int, error: str, what: str, mend: str = "", problems: tuple[Problem, ...] = (), **more: Any
) -> Response:
    """A refusal as every part of the API sends it."""
    listed = [{"where": each.where, "what": each.what, "mend": each.mend} for each in problems]
    return _json(status, {"error": error, "what": what, "mend": mend, "problems": listed, **more})


def refusal(error: HubError, known: bool) -> Response:
    """The problem of an error of the hub; `known`: the caller was authenticated before it was raised."""
    status, more = error.status, {}
    if isinstance(error, KeyRefused) and known:
        status = 403
    if isinstance(error, ChainError):
        more = {"expected": {"seq": error.seq, "prev": error.prev}}
    what = f"{error.where}: {error.what}" if error.where else error.what
    answer = problem(status, snake(type(error).__name__), what, error.mend, error.problems, **more)
    if status == 503:
        answer.headers["Retry-After"] = "5"
    return answer


def snake(name: str) -> str:
    """A class name in snake case."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _json(status: int, value: Any) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def _query(*names: str, root: str = "") -> tuple[list[int], str]:
    """The query's numbers, 0 where left out, and the hash named `root`; what is unknown, repeated or odd is a problem."""
    given = request.args.to_dict(flat=False)
    known = [*names, *([root] if root else [])]
    bad = [Problem("query", "an unknown parameter", f"use {' and '.join(known)}")] if set(given) - set(known) else []
    for name in names:
        values = given.get(name, ["0"])
        if len(values) != 1 or not _number(values[0]):
            bad.append(
                Problem(
                    f"query.{name}",
                    "not one plain decimal number",
                    "write it once, without sign or zeros before",
                )
            )
    hashes = given.get(root, []) if root else []
    if len(hashes) > 1 or not all(map(_is_hash, hashes)):
        bad.append(Problem(f"query.{root}", "not one hash in base64url", "send 43 characters, or leave it out"))
    if bad:
        raise BadQuery("the query cannot be read", problems=bad)
    return [int(given.get(name, ["0"])[0]) for name in names], "".join(hashes)


def _is_hash(text: str) -> bool:
    try:
        return text.isascii() and len(unb64url(text.encode())) == 32
    except HubError:
        return False


class BadQuery(HubError):
    """A query that is not the documented one."""

    status = 422


# --- routes ---


class Answer(NamedTuple):
    """A good answer of a route, as the document describes it."""

    status: int
    description: str
    schema: dict[str, Any] | None = None
    content_type: str | None = None
    headers: dict[str, Any] | None = None


def add(
    blp: Any,
    rule: str,
    view: Callable[..., Response],
    answers: Sequence[Answer],
    refusals: Sequence[int],
    *,
    methods: Sequence[str] = ("GET",),
    parameters: Sequence[dict[str, Any]] = (),
    doc: dict[str, Any] | None = None,
) -> None:
    """Serve a view at a rule and describe it; `parameters` are those of the path, `doc` is told besides."""
    for status in refusals:
        view = blp.alt_response(status, "Problem")(view)
    for each in answers:
        view = blp.response(each.status, each.schema, **_described(each))(view)
    view = blp.doc(**(doc or {}))(view)
    blp.route(rule, methods=list(methods), parameters=list(parameters))(view)


def _described(answer: Answer) -> dict[str, Any]:
    return {
        "description": answer.description,
        "content_type": answer.content_type,
        "headers": answer.headers,
    }


def path_parameter(name: str, description: str, example: str, **schema: Any) -> dict[str, Any]:
    """A path parameter as the document describes it."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", **schema},
        "description": description,
        "example": example,
    }


def describe(spec: Any) -> None:
    """Name the shared parts of the document: the problem form and the signature scheme."""
    # flask-smorest describes its own paging, which nothing here has.
    spec.components.schemas.pop("PaginationMetadata", None)
    spec.components.response(
        "Problem",
        {
            "description": "Refused: what is wrong and how to mend it",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        },
    )
    spec.components.security_scheme(
        "signature", {"type": "apiKey", "in": "header", "name": "Signature", "description": _SCHEME}
    )


_SCHEME = (
    "RFC 9421 with Ed25519, tag crossregion-hub/v1, over @method, @authority, @path and @query, and for a "
    "POST content-type and content-digest (RFC 9530, sha-256); parameters created, expires (at most 300 s "
    "later), nonce (128 bit), keyid, alg and tag. Responses are signed over @status, content-digest and the "
    "request's @method, @path and signature. See the partner guide."
)


def blueprint(desk: Desk) -> Any:
    """The routes below /v1."""
    blp = Blueprint("partner", __name__, url_prefix="/v1", description="What partners push, pull and verify")
    _push(blp, desk)
    _pull(blp, desk)
    _cosignatures(blp, desk)
    _framework(blp, desk)
    _evidence(blp, desk)
    _attachments(blp, desk)
    return blp


def _push(blp: Any, desk: Desk) -> None:
    def push() -> Response:
        """Push a batch, or a key entry

        Taken whole or refused whole. 409 says which seq and prev would continue the chain, 422 lists every
        problem. The same batch again gives the same receipt.
        """
        if request.content_type != BATCH_TYPE:
            return problem(415, "unsupported_media_type", "not a batch", f"send Content-Type: {BATCH_TYPE}")
        return _json(*desk.push(g.owner, g.body))

    body = {
        "required": True,
        "description": 'Lines: {"note": the whole signed note}, then for each record its exact canonical '
        "bytes and a JSON list of its disclosure strings. At most 5,000 records and 8 MiB.",
        "content": {BATCH_TYPE: {"schema": {"type": "string", "contentMediaType": LINES_TYPE}}},
    }
    stored = Answer(201, "Stored: the receipt", _RECEIPT)
    before = Answer(200, "Stored before: the same receipt", _RECEIPT)
    refusals = (401, 403, 409, 413, 415, 422, 503)
    add(blp, "/batches", push, (stored, before), refusals, methods=("POST",), doc={"requestBody": body})


def _pull(blp: Any, desk: Desk) -> None:
    def pull() -> Response:
        """Pull the next entries of the whole ledger, with what this caller may see"""
        (after, notice), root = _query("after", "notice", root="root")
        held = b64(unb64url(root.encode())) if root else ""
        return Response(desk.entries(g.owner, after, notice, held), content_type=LINES_TYPE)

    lines = Answer(
        200,
        'Per entry {"index", "leaves", "note"} and its leaves: a record and its disclosures on two lines, or '
        "the base64 of a withheld record's leaf hash as a JSON string; then notices; last "
        '{"checkpoint", "consistency", "next", "notice"}',
        {"type": "string", "contentMediaType": LINES_TYPE},
        LINES_TYPE,
    )
    parameters = [
        _number_parameter("after", "How many entries the caller holds: the `next` of its last pull"),
        _number_parameter("notice", "The last notice the caller has carried out; this acknowledges it"),
        {
            "name": "root",
            "in": "query",
            "required": False,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"},
            "description": "base64url of the root of the caller's copy of the first `after` entries: by it the hub knows "
            "that both hold the same",
        },
    ]
    add(blp, "/entries", pull, (lines,), (401, 403, 422, 503), doc={"parameters": parameters})


def _cosignatures(blp: Any, desk: Desk) -> None:
    def target() -> Response:
        """The checkpoint that witnesses are asked to cosign

        It stays the same until a quorum has cosigned it, so that all see one size though the ledger grows.
        """
        return Response(desk.target(), content_type="text/plain; charset=utf-8")

    def cosign() -> Response:
        """Give the caller's cosignature of a checkpoint

        The caller has verified that the tree continues every tree it cosigned before (C2SP tlog-cosignature).
        """
        if request.content_type != NOTE_TYPE:
            return problem(415, "unsupported_media_type", "not a note", f"send Content-Type: {NOTE_TYPE}")
        return _json(200, desk.cosign(g.owner, g.body))

    asked = Answer(200, "The checkpoint, a signed note", {"type": "string"}, "text/plain")
    state = Answer(200, "How far the ledger is witnessed now", _WITNESSED)
    body = {
        "required": True,
        "description": "The checkpoint as it was asked for, with the caller's cosignature line below it.",
        "content": {NOTE_TYPE: {"schema": {"type": "string"}}},
    }
    add(blp, "/cosignatures", target, (asked,), (401, 503))
    add(blp, "/cosignatures", cosign, (state,), (401, 403, 415, 422, 500, 503), methods=("POST",), doc={"requestBody": body})


def _framework(blp: Any, desk: Desk) -> None:
    def framework() -> Response:
        """The caller's agreements, the kinds as JSON Schema and the key chains"""
        return _json(200, desk.framework(g.owner))

    seen = Answer(200, "The framework as the caller sees it", _FRAMEWORK)
    add(blp, "/framework", framework, (seen,), (401, 503))


def _evidence(blp: Any, desk: Desk) -> None:
    def evidence(kind: str, origin: str, record: str) -> Response:
        """The evidence bundle of one record; a record withheld and one unknown give the same 404"""
        try:
            return _json(200, desk.evidence(g.owner, kind, origin, record))
        except NotFound:
            # One body for both: what the Desk says of its reason must not tell them apart.
            return problem(404, "not_found", "no such record for this caller")

    bundle = Answer(200, "The evidence bundle, to be verified offline", _EVIDENCE)
    add(blp, f"{_RECORD}/proof", evidence, (bundle,), (401, 404, 503), parameters=_of_record())


def _attachments(blp: Any, desk: Desk) -> None:
    def attach(kind: str, origin: str, record: str) -> Response:
        """Bring what an attachment holds, one that the current revision of the caller's own record names by SHA-256"""
        if request.content_type != FILE_TYPE:
            return problem(415, "unsupported_media_type", "not a file", f"send Content-Type: {FILE_TYPE}")
        return _json(*desk.attach(g.owner, kind, origin, record, g.body))

    def attachment(kind: str, origin: str, record: str, digest: str) -> Response:
        """What an attachment holds; one withheld, one unknown and one that nobody brought give the same 404"""
        try:
            return Response(desk.attachment(g.owner, kind, origin, record, digest), content_type=FILE_TYPE)
        except NotFound:
            return problem(404, "not_found", "no such attachment for this caller")

    kept = Answer(201, "Kept", _KEPT)
    before = Answer(200, "Was there", _KEPT)
    body = {
        "required": True,
        "description": "The file's bytes, at most 8 MiB.",
        "content": {FILE_TYPE: {"schema": {"type": "string", "contentMediaType": FILE_TYPE}}},
    }
    rule, refusals = f"{_RECORD}/attachments", (401, 403, 404, 413, 415, 422, 503)
    add(blp, rule, attach, (kept, before), refusals, methods=("POST",), parameters=_of_record(), doc={"requestBody": body})
    found = Answer(200, "The file's bytes", {"type": "string", "contentMediaType": FILE_TYPE}, FILE_TYPE)
    named = path_parameter("digest", "The file's SHA-256 as the record names it, in small hex", "0" * 64)
    add(blp, f"{rule}/<string:digest>", attachment, (found,), (401, 404, 503), parameters=[*_of_record(), named])


_RECORD = "/records/<string:kind>/<string:origin>/<string:record>"


def _of_record() -> list[dict[str, Any]]:
    return [
        path_parameter("kind", "The kind's name without its version", "case"),
        path_parameter("origin", "The jurisdiction that wrote the record", "330483"),
        path_parameter("record", "The record's id", "mB0k2v6xWQm1cQyq0n3l5A"),
    ]


def _number_parameter(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 0, "default": 0}
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
