"""The types of differences: the closed list that nights know, and what people are told of each.

The words (label, severity, clause, step) are declared in config/catalogue/differences.yaml; a type is one of the detectors'.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from marshmallow import Schema, fields, validate

from adapters.declared import DeclarationError, Doc, check, did_you_mean
from hub.reconcile.worklist import SEVERITIES

TYPES = (
    "missing", "stale", "vanished", "quarantined", "quarantined_long", "not_compared", "unexpected_total", "late_source",
    "letter_unreceived", "letter_unsettled", "letter_disagrees",
    "maybe_same", "records_disagree", "double_penalty", "competing_jurisdiction", "repeated_inspection", "penalty_outlier",
    "deadline_near", "deadline_passed", "copy_behind", "copy_different",
)  # fmt: skip


class Told(NamedTuple):
    """What people are told of a type, in Chinese and English."""

    label: Mapping[str, str]
    severity: str
    clause: Mapping[str, str]
    step: Mapping[str, str]

    @property
    def words(self) -> dict[str, Mapping[str, str]]:
        """Label, clause and next step."""
        return {"label": self.label, "clause": self.clause, "step": self.step}


class _Both(Schema):
    zh = fields.String(required=True, validate=validate.Length(1, 300))
    en = fields.String(required=True, validate=validate.Length(1, 300))


class _TypeYaml(Schema):
    label = fields.Nested(_Both, required=True)
    severity = fields.String(required=True, validate=validate.OneOf(SEVERITIES))
    clause = fields.Nested(_Both, required=True)
    step = fields.Nested(_Both, required=True)


class _TypesYaml(Schema):
    types = fields.Dict(keys=fields.String(), values=fields.Nested(_TypeYaml), required=True)


def types_of(doc: Doc) -> dict[str, Told]:
    """The types as differences.yaml words them; DeclarationError with every problem."""
    read: Mapping[str, Any] = check(doc, _TypesYaml())["types"]
    problems = [
        doc.problem(("types", name), "not a type of difference", did_you_mean(name, TYPES))
        for name in read
        if name not in TYPES
    ]
    missing = [name for name in TYPES if name not in read]
    if missing:
        problems.append(doc.problem(("types",), f"not told: {', '.join(missing)}", "give each its words"))
    if problems:
        raise DeclarationError(problems)
    return {name: Told(**read[name]) for name in TYPES}
