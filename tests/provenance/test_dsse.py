import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.provenance.keyring import ALICE, BOB

from bedside.errors import NotTrusted
from bedside.provenance import dsse
from bedside.provenance.keys import PublicKey

HELLO = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
"""Of the test vector in the protocol's own description."""


def test_what_is_signed_is_the_protocol_s_own_example() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == HELLO


def test_the_protocol_s_own_signature_verifies() -> None:
    numbers = ec.EllipticCurvePublicNumbers(
        x=46950820868899156662930047687818585632848591499744589407958293238635476079160,
        y=5640078356564379163099075877009565129882514886557779369047442380624545832820,
        curve=ec.SECP256R1(),
    )
    signature = "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    raw = base64.b64decode(signature)
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    envelope = dsse.Envelope(b"hello world", "http://example.com/HelloWorld", (der,))
    assert envelope.signed_by(PublicKey(numbers.public_key()))


def test_an_envelope_is_read_as_it_was_written() -> None:
    envelope = dsse.sign(b"{}", ALICE)
    assert dsse.decode(dsse.encode(envelope)) == envelope
    assert envelope.signed_by(ALICE.public)
    assert not envelope.signed_by(BOB.public)


def test_another_payload_or_another_type_was_never_signed() -> None:
    envelope = dsse.sign(b"{}", ALICE)
    assert not dsse.Envelope(b"[]", envelope.payload_type, envelope.signatures).signed_by(ALICE.public)
    assert not dsse.Envelope(b"{}", "text/plain", envelope.signatures).signed_by(ALICE.public)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"payload": "e30=", "payloadType": "t", "signatures": [{}]}',
        b'{"payload": "%%%%", "payloadType": "t", "signatures": []}',
        b'{"payload": "e30=", "payload": "e30=", "payloadType": "t", "signatures": []}',
    ],
)
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(NotTrusted):
        dsse.decode(data)
