"""What a log keeps of inputs, in the hands of somebody with a key: opened, or compared with a patient's. Pure."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bedside.audit.entries import Entry
from bedside.errors import UsageError, VerificationFailed
from bedside_runtime import canonical
from bedside_runtime.audit import record, sealing
from bedside_runtime.audit.prediction import CanonicalInputs
from bedside_runtime.audit.privacy import key_id, mac, read_hmac_key
from bedside_runtime.contract import Input
from bedside_runtime.inputs import compile_inputs

_NOT_SEALED: Final = "Leave the key out: this log holds no sealed inputs, and nobody can open an HMAC."


class Unsealed:
    """Opens sealed inputs with the auditor's private key."""

    def __init__(self, pem: bytes) -> None:
        """Take the key.

        Raises:
            AuditKeyInvalid: It is none.
        """
        self._key = sealing.read_private_key(pem)
        self._recipient = sealing.recipient_id(self._key.public_key())

    def rows(self, entry: Entry) -> list[dict[str, Any]]:
        """Return the inputs of a prediction, one object a row.

        Raises:
            UsageError: They are not sealed, or not for this key.
            VerificationFailed: They are, and do not open all the same.
        """
        payload, sealed = entry.genesis.payload, _prediction(entry).inputs
        if payload.mode != "encrypted" or not isinstance(sealed, str):
            raise UsageError(f"{entry.segment} keeps inputs as {payload.mode}, not sealed", remedy=_NOT_SEALED)
        if payload.key != self._recipient:
            raise UsageError(
                f"{entry.segment} is sealed to the key {payload.key}; the one given is {self._recipient}",
                remedy="Give the private key that belongs to the public one that was mounted then.",
            )
        try:
            opened = sealing.unseal(payload, entry.position, sealed, self._key)
        except sealing.NotOpened:
            raise VerificationFailed(f"record {entry.line.seq} in {entry.segment} does not open") from None
        rows: list[dict[str, Any]] = msgspec.json.decode(opened)
        return rows


class Patient:
    """Finds the predictions whose inputs were these: by HMAC, or among those that are opened."""

    def __init__(
        self, inputs: Sequence[Input], values: object, keys: Sequence[bytes], unsealed: Unsealed | None
    ) -> None:
        """Take what to look for.

        Args:
            inputs: Of the release: names, units, and what may be missing.
            values: The patient's, as a request would send them.
            keys: HMAC keys as they were mounted, hexadecimal.
            unsealed: Opens sealed inputs.

        Raises:
            InvalidInputs: The release would refuse these values.
            AuditKeyInvalid: A key is none.
        """
        (row,) = compile_inputs(inputs).rows([values])
        (self._wanted,) = CanonicalInputs([item.name for item in inputs]).each([row.cells])
        self._macs = {key_id(key): mac(key, self._wanted) for key in map(read_hmac_key, keys)}
        self._unsealed = unsealed

    def __call__(self, entry: Entry) -> bool:
        """Whether ``entry`` answered these inputs.

        Raises:
            UsageError: With what was given, nobody can know.
        """
        payload, kept = entry.genesis.payload, _prediction(entry).inputs
        if payload.mode == "encrypted" and self._unsealed is not None:
            return any(canonical.encode(row) == self._wanted for row in self._unsealed.rows(entry))
        if payload.mode != "hmac" or kept is None:
            raise UsageError(
                f"{entry.segment} keeps inputs as {payload.mode}: whose they are cannot be known",
                remedy="Sealed inputs need --unseal; where nothing is kept, nothing can be found.",
            )
        if payload.key not in self._macs:
            raise UsageError(
                f"{entry.segment} was written with the HMAC key {payload.key}, which was not given",
                remedy="Give every key that was mounted in the time asked for, one --hmac-key each.",
            )
        return self._macs[payload.key] in kept


def _prediction(entry: Entry) -> record.Prediction:
    match entry.body:
        case record.Prediction() as prediction:
            return prediction
        case _:
            raise AssertionError("only predictions have inputs")
