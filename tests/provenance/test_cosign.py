import json

import pytest
from sigstore_models.bundle import v1 as official
from tests.provenance.keyring import ALICE

from bedside.errors import NotTrusted
from bedside.provenance import cosign, dsse, statements
from bedside.provenance.cosign import Claim

DIGEST = "sha256:" + "ab" * 32
CLAIM = Claim(DIGEST, "registry.example.org/icu")


def test_the_payload_is_byte_for_byte_what_cosign_signs() -> None:
    assert cosign.payload(CLAIM) == (
        b'{"critical":{"identity":{"docker-reference":"registry.example.org/icu"},"image":{"docker-manifest-digest":"'
        + DIGEST.encode()
        + b'"},"type":"cosign container image signature"},"optional":null}'
    )


def test_a_payload_of_another_tool_with_tag_and_annotations_says_the_same() -> None:
    theirs = json.loads(cosign.payload(Claim(DIGEST, "registry.example.org:5000/icu:1.0.0")))
    theirs["optional"] = {"creator": "somebody"}
    assert cosign.claim(json.dumps(theirs).encode()) == Claim(DIGEST, "registry.example.org:5000/icu")


@pytest.mark.parametrize("data", [b"", b"{}", b'{"critical": {"type": "atomic container signature"}}', b"[1]"])
def test_any_other_payload_claims_nothing(data: bytes) -> None:
    with pytest.raises(NotTrusted):
        cosign.claim(data)


def test_a_payload_of_another_type_claims_nothing() -> None:
    theirs = json.loads(cosign.payload(CLAIM))
    theirs["critical"]["type"] = "atomic container signature"
    with pytest.raises(NotTrusted):
        cosign.claim(json.dumps(theirs).encode())


def test_a_bundle_is_one_for_sigstore_s_own_models_and_names_the_key() -> None:
    envelope = dsse.sign(statements.encode(DIGEST, "icu", statements.SIGNATURE, {}), ALICE)
    data = cosign.bundle(envelope, ALICE.public)
    theirs = official.Bundle.from_json(data.decode())
    assert theirs.media_type == cosign.BUNDLE
    assert theirs.verification_material.public_key.hint == ALICE.public.hint
    assert theirs.dsse_envelope.payload == envelope.payload
    assert cosign.read_bundle(data) == cosign.Bundle(envelope, data, certified=False)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}'])
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(NotTrusted):
        cosign.read_bundle(data)
