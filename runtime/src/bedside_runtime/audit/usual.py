"""Records as the writer of this format writes nearly all of them, many taken apart at a time. Pure.

Whoever reads a log spends most of the time on the question whether its lines are canonical. Where every member is
known and stands in canonical order, writing what was read answers it: lines that come out as they went in are
canonical. Of all others nothing is said here; `chain.read` looks at each.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from bedside_runtime.audit.chain import Record

_Integer = Annotated[int, Meta(gt=-(2**53), lt=2**53)]
_Count = Annotated[int, Meta(ge=0, lt=2**53)]
_Fraction = Annotated[float, Meta(gt=1e-4, lt=1e15)]
"""Between these msgspec writes what RFC 8785 has, but for integers: those as 1.0."""

_INTEGRAL_FRACTION: Final = b".0}"
"""How an output ends whose value, the only member that may be a fraction and the last, is written as 1.0."""


class _Flag(Struct, forbid_unknown_fields=True):
    code: str
    input: str


class _Output(Struct, forbid_unknown_fields=True):
    band: str | None
    flags: list[_Flag]
    value: bool | _Integer | _Fraction | str


class _Body(Struct, forbid_unknown_fields=True):
    """Every member of every kind of record but ``genesis``, in canonical order."""

    batch: _Integer | UnsetType = UNSET
    caller: str | UnsetType | None = UNSET
    code: str | UnsetType = UNSET
    duration_us: _Integer | UnsetType = UNSET
    event: str | UnsetType = UNSET
    image: str | UnsetType | None = UNSET
    inputs: str | list[str] | UnsetType | None = UNSET
    kind: Literal["prediction", "refusal", "lifecycle", "heartbeat", "checkpoint", "end"] | UnsetType = UNSET
    note: str | UnsetType = UNSET
    outputs: list[_Output] | UnsetType = UNSET
    ready: bool | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET
    release: str | UnsetType = UNSET
    request: str | UnsetType = UNSET
    status: _Integer | UnsetType = UNSET


class UsualRecord(Struct, forbid_unknown_fields=True):
    """One line, taken apart; see `Record`. Fields stand in canonical order."""

    body: _Body
    hash: str
    mono: _Count
    prev: str
    seq: _Count
    time: str

    @property
    def kind(self) -> object:
        """What is recorded."""
        return self.body.kind

    @property
    def note(self) -> object:
        """The signed note of a checkpoint."""
        return self.body.note

    @property
    def record(self) -> Record:
        """The same, its body as a decoded JSON object."""
        body: dict[str, Any] = msgspec.to_builtins(self.body)
        return Record(body, self.hash, self.mono, self.prev, self.seq, self.time)


_TAKE_APART: Final = msgspec.json.Decoder(UsualRecord).decode_lines
_PUT_TOGETHER: Final = msgspec.json.Encoder().encode_lines


def take_apart(lines: bytes) -> list[UsualRecord] | None:
    """Return the records of whole ``lines``, newlines included; ``None`` unless all are canonical for certain.

    Hashes and times are not looked at.
    """
    try:
        records = _TAKE_APART(lines)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return records if _PUT_TOGETHER(records) == lines and _INTEGRAL_FRACTION not in lines else None
