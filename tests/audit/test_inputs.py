from pathlib import Path
from typing import Literal

import pytest
from tests.audit.recorded import OTHER, PATIENT, Recorded, record

from bedside.audit.entries import Entry, Selection
from bedside.audit.inputs import Patient, Unsealed
from bedside.audit.keys import HMAC_KEY
from bedside.errors import UsageError
from bedside.stages.audit import show
from bedside_runtime.audit import sealing
from bedside_runtime.errors import AuditKeyInvalid
from bedside_runtime.inputs import InvalidInputs
from contracts import INPUTS


def predictions(log: Recorded, rows: Patient | None = None) -> list[Entry]:
    found: list[Entry] = []
    show(log.folder, found.append, selection=Selection(kinds=frozenset({"prediction"}), rows=rows))
    return found


def requests(found: list[Entry]) -> list[str]:
    return [item.line.body["request"] for item in found]


def test_sealed_inputs_open_with_the_auditors_key_in_every_segment(tmp_path: Path) -> None:
    log = record(tmp_path, "encrypted")
    unsealed = Unsealed(log.opening_key.read_bytes())
    assert [unsealed.rows(entry) for entry in predictions(log)] == [
        [PATIENT],
        [OTHER],
        [PATIENT],
        [OTHER, PATIENT],
        [OTHER],
    ] * 2


def test_what_is_mounted_into_the_pod_opens_nothing(tmp_path: Path) -> None:
    log = record(tmp_path, "encrypted")
    with pytest.raises(AuditKeyInvalid):
        Unsealed((log.keys / "audit-recipient.pem").read_bytes())


def test_another_private_key_is_told_that_it_is_another(tmp_path: Path) -> None:
    log, other = record(tmp_path / "one", "encrypted"), record(tmp_path / "other", "encrypted")
    named = sealing.recipient_id(sealing.read_private_key(other.opening_key.read_bytes()).public_key())
    with pytest.raises(UsageError, match=f"sealed to the key [0-9a-f]{{16}}; the one given is {named}"):
        Unsealed(other.opening_key.read_bytes()).rows(predictions(log)[0])


def test_a_log_of_digests_has_nothing_to_open(tmp_path: Path) -> None:
    sealed, log = record(tmp_path / "one", "encrypted"), record(tmp_path / "other", "hmac")
    with pytest.raises(UsageError, match="keeps inputs as hmac"):
        Unsealed(sealed.opening_key.read_bytes()).rows(predictions(log)[0])


def _key(log: Recorded) -> bytes:
    return (log.keys / HMAC_KEY).read_bytes()


@pytest.mark.parametrize("payload", ["hmac", "encrypted"])
def test_a_patients_predictions_are_found_by_the_inputs(tmp_path: Path, payload: Literal["hmac", "encrypted"]) -> None:
    log = record(tmp_path, payload)
    unsealed = Unsealed(log.opening_key.read_bytes()) if payload == "encrypted" else None
    keys = [_key(log)] if payload == "hmac" else []
    for values, expected in (
        (PATIENT, ["r-00", "r-02", "r-03", "r-10", "r-12", "r-13"]),
        (OTHER, ["r-01", "r-03", "r-04", "r-11", "r-13", "r-14"]),
        ({key: value for key, value in OTHER.items() if key != "lactate"}, ["r-01", "r-03", "r-04"] * 2),
        (PATIENT | {"temperature": {"value": 98.96, "unit": "[degF]"}}, ["r-00", "r-02", "r-03"] * 2),
        (PATIENT | {"age": 65}, []),
    ):
        found = requests(predictions(log, Patient(INPUTS, values, keys, unsealed)))
        assert [item.replace("r-1", "r-0") for item in found] == [item.replace("r-1", "r-0") for item in expected]


def test_a_key_that_was_exchanged_must_be_given_too_and_is_named(tmp_path: Path) -> None:
    log = record(tmp_path)
    with pytest.raises(UsageError, match=r"was written with the HMAC key [0-9a-f]{16}, which was not given"):
        predictions(log, Patient(INPUTS, PATIENT, [b"00" * 32], None))
    assert len(predictions(log, Patient(INPUTS, PATIENT, [b"00" * 32, _key(log)], None))) == 6


@pytest.mark.parametrize("payload", ["none", "encrypted"])
def test_where_nobody_can_know_that_is_said(tmp_path: Path, payload: Literal["none", "encrypted"]) -> None:
    with pytest.raises(UsageError, match=f"keeps inputs as {payload}"):
        predictions(record(tmp_path, payload), Patient(INPUTS, PATIENT, [b"00" * 32], None))


def test_inputs_that_the_release_would_refuse_are_refused() -> None:
    for values in (PATIENT | {"age": 1000}, {"age": 63}, "Jane"):
        with pytest.raises(InvalidInputs):
            Patient(INPUTS, values, [], None)
