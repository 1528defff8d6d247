"""Record kinds: what a body of each kind holds, which of it is open or sealed, and whether one is valid.

Rule 1. A kind is declared once, in YAML; from it come a msgspec Struct (the hot path) and a marshmallow
        schema (the explanation). What the fast path accepts never touches marshmallow; what it refuses,
        marshmallow explains.
Rule 2. Sealed by default: a field is open only if its type can hold no words about a person.
Rule 3. A problem names the field and what was expected, never the value.
Pure: files are read by `load_kinds` alone, and only when it is called.
"""

from hub.kinds.declare import load_kinds, parse_kind
from hub.kinds.kind import Kind
from hub.kinds.retention import Retention
from hub.kinds.vocabulary import Field

__all__ = ["Field", "Kind", "Retention", "load_kinds", "parse_kind"]
