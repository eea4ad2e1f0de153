"""Logs of every released format are verified, and opened, for ever; `releasing` wrote them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bedside_runtime.audit import record
from bedside_runtime.audit.chain import FORMAT, Record
from bedside_runtime.audit.privacy import mac
from bedside_runtime.audit.reading import judge, segments
from bedside_runtime.audit.verify import Segment, Verdict, verify

RELEASED = Path(__file__).parent / "released"
POD = "icu-7f9c-x1"
LOGS = sorted(path.parent for path in RELEASED.glob(f"*/*/{POD}"))
NAMES = [f"{path.parent.name}/{path.name}" for path in LOGS]


def proved(log: Path) -> Iterator[tuple[Segment, Record]]:
    found: list[tuple[Segment, Record]] = []
    verify(segments(log / POD), on_record=lambda segment, item: found.append((segment, item)))
    yield from found


def predictions(log: Path) -> Iterator[tuple[record.Genesis, Record]]:
    for _, item in proved(log):
        if item.body["kind"] == "genesis":
            genesis = msgspec.convert(item.body, record.Genesis)
        elif item.body["kind"] == "prediction":
            yield genesis, item


def test_the_present_format_is_among_them() -> None:
    assert {FORMAT.rpartition("/")[2]} <= {path.name for path in RELEASED.iterdir()}
    assert len(LOGS) >= 3


@pytest.mark.parametrize("log", LOGS, ids=NAMES)
def test_a_released_log_is_found_to_be_what_it_was_found_to_be(log: Path) -> None:
    expected: dict[str, Any] = json.loads((log.parent / "expected.json").read_text())[log.name]
    found = msgspec.to_builtins(judge(log / POD))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("log", LOGS, ids=NAMES)
def test_every_record_of_a_released_log_is_understood(log: Path) -> None:
    kinds = {type(msgspec.convert(item.body, record.Body)) for _, item in proved(log)}
    unsigned = {record.Genesis, record.Prediction, record.Refusal, record.Lifecycle, record.Heartbeat, record.End}
    assert kinds == unsigned | ({record.Checkpoint} if "signed" in log.name else set())


@pytest.mark.parametrize("log", LOGS, ids=NAMES)
def test_a_flipped_bit_of_a_released_log_is_found(log: Path) -> None:
    (first, *rest) = segments(log / POD)
    data = bytearray(b"".join(first.chunks))
    data[len(data) // 2] ^= 1
    assert verify([Segment(first.name, 0, [bytes(data)]), *rest]).verdict is Verdict.ALTERED


def test_a_released_log_s_hmacs_prove_its_inputs() -> None:
    key = bytes(range(32))
    inputs = '{"Größe":null,"admission":"Emergency","age":63,"temperature":37.25,"ventilated":false}'.encode()
    macs = [item.body["inputs"][0] for _, item in predictions(RELEASED / "1/hmac-signed")]
    assert macs == [mac(key, inputs)] * len(macs)
    assert len(macs) >= 10


class TestWithKeys:
    @pytest.fixture(autouse=True)
    def _cryptography(self) -> None:
        pytest.importorskip("cryptography", reason="signatures and sealed inputs need the extra `audit`")

    @pytest.mark.parametrize("log", [log for log in LOGS if "signed" in log.name], ids=str)
    def test_a_released_log_is_signed_and_meets_what_its_pod_wrote_to_stdout(self, log: Path) -> None:
        from keys import signer

        found = judge(log / POD, keys=[str(signer().key)], checkpoints=[log / "stdout"])
        assert found.verdict is Verdict.INTACT
        assert found.signed_records == found.records - 1

    def test_a_released_log_s_sealed_inputs_open(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        from bedside_runtime.audit.sealing import unseal

        key = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
        opened = set[bytes]()
        for genesis, item in predictions(RELEASED / "1/sealed-signed"):
            place = record.Position(POD, genesis.segment, item.seq)
            opened.add(unseal(genesis.payload, place, item.body["inputs"], key))
        one = '{"Größe":null,"admission":"Emergency","age":63,"temperature":37.25,"ventilated":false}'
        other = '{"Größe":1.8e+21,"admission":"a \\"ward\\" ☃","age":17,"temperature":1e-7,"ventilated":true}'
        assert opened == {f"[{one}]".encode(), f"[{one},{other}]".encode()}
