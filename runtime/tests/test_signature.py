"""contract.sig, with a key that is a checksum: what is compared does not depend on the kind of key."""

import base64
import hashlib
import json
from typing import Any

import pytest

from bedside_runtime import signature
from bedside_runtime.errors import SignatureInvalid

FILES = {"contract.json": "aa" * 32, "model/m.ubj": "bb" * 32}


def stamp(message: bytes) -> bytes:
    return hashlib.sha256(b"key" + message).digest()


def verifies(signature: bytes, message: bytes) -> bool:
    return signature == stamp(message)


def statement(files: dict[str, str] | None = None) -> dict[str, Any]:
    named = FILES if files is None else files
    return {
        "_type": signature.STATEMENT,
        "subject": [{"name": "icu", "digest": {"sha256": signature.root(list(named.values()))}}],
        "predicateType": signature.PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256"},
            "resources": [{"name": path, "algorithm": "sha256", "digest": sha} for path, sha in named.items()],
        },
    }


def bundle(said: object, **changes: object) -> bytes:
    payload = json.dumps(said).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": signature.PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(stamp(signature.pae(payload))).decode()}],
        **changes,
    }
    return json.dumps({"mediaType": signature.BUNDLE, "dsseEnvelope": envelope}).encode()


def test_what_was_signed_comes_back_by_path() -> None:
    assert signature.signed_files(bundle(statement()), verifies) == FILES
    signature.require(bundle(statement()), verifies, FILES)


def test_without_a_signature_nothing_is_accepted() -> None:
    with pytest.raises(SignatureInvalid, match="nobody signed"):
        signature.require(None, verifies, FILES)


@pytest.mark.parametrize(
    "files", [{}, {"contract.json": "aa" * 32}, {**FILES, "contract.json": "ab" * 32}, {**FILES, "x": "cc" * 32}]
)
def test_other_files_than_were_signed_are_another_release(files: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid, match="another release"):
        signature.require(bundle(statement()), verifies, files)


def test_a_payload_that_was_exchanged_does_not_verify() -> None:
    payload = base64.b64encode(json.dumps(statement({"contract.json": "cc" * 32})).encode()).decode()
    with pytest.raises(SignatureInvalid, match="not signed by the key"):
        signature.signed_files(bundle(statement(), payload=payload), verifies)


def twice() -> dict[str, Any]:
    said = statement()
    said["predicate"]["resources"].append({"name": "contract.json", "algorithm": "sha256", "digest": "dd" * 32})
    said["subject"][0]["digest"]["sha256"] = signature.root([item["digest"] for item in said["predicate"]["resources"]])
    return said


MALFORMED: dict[str, object] = {
    "one path twice": twice(),
    "another statement": {**statement(), "predicateType": "https://slsa.dev/provenance/v1"},
    "another type": {**statement(), "_type": "https://in-toto.io/Statement/v0.1"},
    "another digest over all": {**statement(), "subject": [{"digest": {"sha256": "00" * 32}}]},
    "two subjects": {**statement(), "subject": statement()["subject"] * 2},
    "shards": {**statement(), "predicate": {**statement()["predicate"], "serialization": {"method": "shards"}}},
    "a digest that is none": statement({"contract.json": "AA" * 32}),
    "no object": [],
}


@pytest.mark.parametrize("case", MALFORMED)
def test_anything_else_that_the_key_signed_is_no_signature_of_a_release(case: str) -> None:
    with pytest.raises(SignatureInvalid, match="what is signed"):
        signature.signed_files(bundle(MALFORMED[case]), verifies)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        bundle(statement(), payloadType="text/plain"),
        bundle(statement(), signatures=[{}]),
        bundle(statement(), payload="%"),
        bundle(statement()).replace(b"v0.3", b"v0.1"),
    ],
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        signature.signed_files(data, verifies)


def test_an_envelope_without_signatures_is_signed_by_nobody() -> None:
    with pytest.raises(SignatureInvalid, match="not signed by the key"):
        signature.signed_files(bundle(statement(), signatures=[]), verifies)
