"""The one tree of errors that leaves a room of the hub; each edge translates once.

Every error says what is wrong, where, and how to mend it. None ever carries a value of a record: an error is logged,
shown and sent, and personal data may do none of these. `exit_code` follows the CLI's table, `status` is the HTTP answer.

    HubError
    ├── ConfigError            configuration, every problem at once
    ├── KindError              a body that its kind refuses, every problem at once
    ├── RecordError            record bytes, disclosures or batches that break the format
    ├── ChainError             an origin's chain of entries
    │   ├── GapError           the entry does not follow the last one: says which is expected
    │   └── ForkError          another entry already stands at this place
    ├── KeyRefused             signature, key or caller not accepted
    ├── NotFound               unknown, or not for the caller: the two must look alike
    ├── Tampered               the ledger contradicts itself or what was seen before
    ├── Unreachable            a peer that does not answer, or not in a way that can be believed
    ├── Locked                 another process holds what is needed
    └── Fenced                 a run that lost its claim tried to commit
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class Problem(NamedTuple):
    """One thing to mend: where it stands, what is wrong, how to mend it. Never the value itself."""

    where: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        head = f"{self.where}: " if self.where else ""
        return head + self.what + (f"; {self.mend}" if self.mend else "")


class HubError(Exception):
    """What is wrong, where, and how to mend it."""

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500

    def __init__(self, what: str, *, where: str = "", mend: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(what)
        self.what, self.where, self.mend, self.problems = what, where, mend, tuple(problems)

    def __str__(self) -> str:
        lines = [str(Problem(self.where, self.what, self.mend))]
        return "\n".join(lines + [f"  {problem}" for problem in self.problems])


class ConfigError(HubError):
    """Configuration that cannot be used; `problems` holds all of it, each with file and line."""

    exit_code = 2

    def __init__(self, lines: Sequence[str]) -> None:
        noun = "problem" if len(lines) == 1 else "problems"
        super().__init__(f"{len(lines)} {noun} in the configuration", problems=[Problem("", line) for line in lines])


class KindError(HubError):
    """A body that its kind refuses."""

    status = 422

    def __init__(self, kind: str, problems: Sequence[Problem]) -> None:
        super().__init__(f"not a valid {kind}", problems=problems)


class RecordError(HubError):
    """Bytes that are not a record, a disclosure, a note or a batch as the formats require."""

    status = 422


class ChainError(HubError):
    """An entry that does not continue its origin's chain."""

    status = 409

    def __init__(self, what: str, *, seq: int, prev: str, where: str = "", mend: str = "") -> None:
        super().__init__(what, where=where, mend=mend or f"continue with seq {seq} and prev {prev}")
        self.seq, self.prev = seq, prev


class GapError(ChainError):
    """Entries between the last stored one and this one are missing."""


class ForkError(ChainError):
    """Another entry already stands at this place of the chain; the first stored wins."""


class KeyRefused(HubError):
    """A signature, key or caller that is not accepted."""

    exit_code = 7
    status = 401


class NotFound(HubError):
    """Unknown or withheld: the caller cannot tell which."""

    status = 404


class Tampered(HubError):
    """A ledger that contradicts itself, or what was seen of it before."""

    exit_code = 5


class Unreachable(HubError):
    """A peer that does not answer, or whose answer cannot be believed."""

    exit_code = 6
    status = 503


class Locked(HubError):
    """Another process holds what is needed."""

    exit_code = 11
    status = 503


class Fenced(HubError):
    """A run that lost its claim to another tried to commit."""
