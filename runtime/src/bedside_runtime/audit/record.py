"""What the bodies of the log's records hold: the schema of ``bedside.audit/1``. Pure.

docs/audit-format.md is the same in prose. A released schema is never changed: what is added later is
optional, and verified logs of every released version are kept among the tests.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from bedside_runtime import canonical
from bedside_runtime.audit.chain import FORMAT


class Position(Struct, frozen=True):
    """Where a record stands: what a sealed payload is bound to."""

    pod: str
    segment: int
    seq: int


Entry: TypeAlias = bytes | Callable[[Position], bytes]
"""A body as canonical bytes, or what makes them once the record's position is known."""


class Torn(Struct, frozen=True):
    """The end of a segment that a crash tore.

    Attributes:
        at: Where the bytes begin that are no record.
        bytes: How many they are, to the end of the segment.
        sha256: Their digest.
    """

    at: int
    bytes: int
    sha256: str


class Previous(Struct, frozen=True):
    """How the segment before was found: its file, size, head and torn end.

    Attributes:
        segment: File name.
        bytes: Its size.
        records: Records of the log up to its last whole one.
        hash: The hash of that one.
        torn: What stands behind it; ``None`` where nothing does.
    """

    segment: str
    bytes: int
    records: int
    hash: str
    torn: Torn | None


class Promises(Struct, frozen=True):
    """How often the writer promises to be heard of: what makes silence and cuts visible.

    Attributes:
        checkpoint_records: At most so many records stand between two checkpoints.
        checkpoint_seconds: And so many seconds, while there are records.
        heartbeat_seconds: At most so long without any record.
    """

    checkpoint_records: int
    checkpoint_seconds: float
    heartbeat_seconds: float


class Payload(Struct, frozen=True):
    """How inputs are kept in this segment.

    Attributes:
        mode: ``none``, ``hmac`` (HMAC-SHA256 of the canonical inputs) or ``encrypted`` (AES-256-GCM).
        key: Names the HMAC key without saying anything about it; for ``encrypted``, the recipient's key.
        wrapped: For ``encrypted``: this segment's data key, encrypted to the recipient (RFC 9180), base64.
    """

    mode: Literal["none", "hmac", "encrypted"]
    key: str | None = None
    wrapped: str | None = None


class Identity(Struct, frozen=True):
    """Who writes: what every segment of one process says about itself.

    Attributes:
        model: Name of the model.
        version: Its version.
        release: Release digest, ``sha256:`` and 64 hexadecimal characters.
        image: Image digest in the same form; ``None`` where the process does not run from an image.
        pod: Name of the pod.
        boot: Names this one start of the process.
    """

    model: str
    version: str
    release: str
    image: str | None
    pod: str
    boot: str


class Genesis(Struct, frozen=True, tag_field="kind", tag="genesis"):
    """The first record of a segment.

    Attributes:
        format: The format of the log.
        identity: Who writes.
        segment: Number of the segment, from 0, over all boots of the pod.
        previous: The segment before; ``None`` only for segment 0.
        promises: How often the writer is heard of.
        key: Verification key of the checkpoints, C2SP form; ``None`` where the log is not signed.
        payload: How inputs are kept.
        reserved: Whether space is reserved ahead; some file systems cannot.
    """

    identity: Identity
    segment: int
    previous: Previous | None
    promises: Promises
    key: str | None
    payload: Payload
    reserved: bool
    format: str = FORMAT


class Checkpoint(Struct, frozen=True, tag_field="kind", tag="checkpoint"):
    """Where the log stands before this record, signed.

    Attributes:
        note: A C2SP signed note, whole.
    """

    note: str


class Heartbeat(Struct, frozen=True, tag_field="kind", tag="heartbeat"):
    """Nothing happened.

    Attributes:
        ready: Whether the process would have answered.
    """

    ready: bool


Event: TypeAlias = Literal["start", "ready", "not-ready", "drain"]


class Lifecycle(Struct, frozen=True, tag_field="kind", tag="lifecycle"):
    """The process changed: it started, became ready or unready, drains.

    Attributes:
        event: What happened.
        reason: Fixed reason code; ``None`` where there is none.
    """

    event: Event
    reason: str | None = None


class Refusal(Struct, frozen=True, tag_field="kind", tag="refusal"):
    """A request that got no prediction.

    Attributes:
        request: Request id.
        caller: Authenticated caller, where there is one.
        status: HTTP status.
        code: Fixed reason code.
        duration_us: Microseconds from the request's arrival.
    """

    request: str
    caller: str | None
    status: int
    code: str
    duration_us: int


EndReason: TypeAlias = Literal["rotation", "stop"]


class End(Struct, frozen=True, tag_field="kind", tag="end"):
    """The segment was closed on purpose. Only a checkpoint follows.

    Attributes:
        reason: ``rotation``, or ``stop`` of the process.
    """

    reason: EndReason


class Flag(Struct, frozen=True):
    """What was noticed about one input.

    Attributes:
        code: ``missing`` or ``outside-expected``.
        input: Name of the input; never its value.
    """

    code: str
    input: str


class Output(Struct, frozen=True):
    """One answered row.

    Attributes:
        band: Its band, where the output has bands.
        flags: What was noticed about its inputs.
        value: What was answered.
    """

    band: str | None
    flags: tuple[Flag, ...]
    value: bool | int | float | str


class Prediction(Struct, frozen=True, tag_field="kind", tag="prediction"):
    """One answered request.

    Attributes:
        batch: Rows that the model's call answered, those of other requests included.
        caller: Authenticated caller, where there is one.
        duration_us: Microseconds that the model's call took.
        image: Image digest, as in the genesis record.
        inputs: What is kept of the inputs: nothing; or an HMAC a row; or all rows sealed, base64.
        outputs: One a row.
        release: Release digest, as in the genesis record.
        request: Request id.
    """

    batch: int
    caller: str | None
    duration_us: int
    image: str | None
    inputs: str | tuple[str, ...] | None
    outputs: tuple[Output, ...]
    release: str
    request: str


Body = Genesis | Prediction | Refusal | Lifecycle | Heartbeat | Checkpoint | End
"""Everything that is recorded. The bytes of a prediction's body are made by ``prediction.py``."""


def encode(body: Body) -> bytes:
    """Return the canonical bytes of ``body``."""
    value: Any = msgspec.to_builtins(body)
    return canonical.encode(value)
