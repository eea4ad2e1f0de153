"""What is kept of the inputs: nothing, or a keyed digest that proves them and does not show them. Pure.

An HMAC with a secret key lets whoever has the key and the inputs prove that these were the ones. Without the key
it says nothing, not even to somebody who tries every blood pressure: a plain hash would.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Final, Protocol

from bedside_runtime.audit import prediction, record
from bedside_runtime.audit.prediction import CanonicalInputs, Kept
from bedside_runtime.audit.record import Entry
from bedside_runtime.errors import AuditKeyInvalid
from bedside_runtime.service import Entry as Answered

_CONTEXT: Final = b"bedside.audit/1 inputs\n"
_KEY_CONTEXT: Final = b"bedside.audit/1 key id\n"


class Keeper(Protocol):
    """How inputs are kept: makes entries, and speaks for each segment in its genesis record."""

    def begin(self, pod: str, segment: int) -> record.Payload:
        """Start a segment."""
        ...

    def entries(self, answered: Sequence[Answered]) -> Sequence[Entry]:
        """Return the entries of answered requests, one each."""
        ...


class Keeps:
    """What all keepers know: the release, the image, the inputs' names."""

    def __init__(
        self, names: Sequence[str], release: str, image: str | None, *, texts: Collection[str] | None = None
    ) -> None:
        """``names`` and ``texts`` as `CanonicalInputs` has them."""
        self.inputs = CanonicalInputs(names, texts)
        self._release, self._image = release, image

    def bodies(self, answered: Sequence[Answered], inputs: Iterable[Kept]) -> list[bytes]:
        """Return the bodies of predictions, each with its ``inputs`` in it."""
        return prediction.bodies(answered, inputs, self._release, self._image)


class KeepsNothing(Keeps):
    """No trace of the inputs."""

    def begin(self, pod: str, segment: int) -> record.Payload:  # noqa: ARG002 - the protocol's signature
        """See `Keeper`."""
        return record.Payload("none")

    def entries(self, answered: Sequence[Answered]) -> Sequence[Entry]:
        """See `Keeper`."""
        return self.bodies(answered, [None] * len(answered))


class KeepsHmac(Keeps):
    """HMAC-SHA256 (RFC 2104) of each row's canonical inputs."""

    def __init__(
        self, names: Sequence[str], release: str, image: str | None, key: bytes, *, texts: Collection[str] | None = None
    ) -> None:
        super().__init__(names, release, image, texts=texts)
        self._key_id = key_id(key)
        keyed = _keyed(key)
        self._keyed = getattr(keyed, "_hmac", keyed)  # OpenSSL's own object, without the one of Python around it

    def begin(self, pod: str, segment: int) -> record.Payload:  # noqa: ARG002 - the protocol's signature
        """See `Keeper`."""
        return record.Payload("hmac", self._key_id)

    def entries(self, answered: Sequence[Answered]) -> Sequence[Entry]:
        """See `Keeper`."""
        macs = map(self._mac, self.inputs.each([row for one in answered for row in one.rows]))
        return self.bodies(answered, [list(islice(macs, len(one.rows))) for one in answered])

    def _mac(self, inputs: bytes) -> str:
        """As `mac`. A copy of the keyed state: `hmac.digest` would hand the interpreter to another thread each time."""
        keyed = self._keyed.copy()
        keyed.update(inputs)
        written: str = keyed.hexdigest()
        return written


def mac(key: bytes, inputs: bytes) -> str:
    """Return the HMAC of the canonical bytes of one row's inputs, 64 hexadecimal characters."""
    keyed = _keyed(key)
    keyed.update(inputs)
    return keyed.hexdigest()


def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, _CONTEXT, hashlib.sha256)


def key_id(key: bytes) -> str:
    """Return what names ``key`` in the log: 16 hexadecimal characters that say nothing else about it."""
    return hmac.digest(key, _KEY_CONTEXT, hashlib.sha256).hex()[:16]


def read_hmac_key(text: bytes) -> bytes:
    """Read a key as ``openssl rand -hex 32`` writes it.

    Raises:
        AuditKeyInvalid: Not 32 to 64 bytes in hexadecimal.
    """
    if not re.fullmatch(rb"(?:[0-9a-fA-F]{2}){32,64}\s*", text):
        raise AuditKeyInvalid(
            "the HMAC key of the audit log is not 32 to 64 bytes in hexadecimal",
            remedy="Make one with `openssl rand -hex 32`, and mount it as a secret.",
        )
    return bytes.fromhex(text.decode())
