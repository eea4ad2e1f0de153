"""contract.sig: who vouches for a release, in the format of OpenSSF model signing 1.0.

The file is a Sigstore bundle (0.3) whose DSSE envelope holds an in-toto statement of the predicate
``https://model_signing/signature/v1.0``: the sha256 of every file by its path. Pure: how a key verifies is passed in.

https://github.com/sigstore/model-transparency
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from bedside_runtime import canonical
from bedside_runtime.errors import SignatureInvalid

FILE_NAME: Final = "contract.sig"

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://model_signing/signature/v1.0"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

Verifies: TypeAlias = Callable[[bytes, bytes], bool]
"""Whether a signature is the key's over a message."""


def pae(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding of an in-toto statement."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def root(digests: list[str]) -> str:
    """Return the digest that stands for a list of files: the sha256 of their digests, one behind the other."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def signed_files(data: bytes, verifies: Verifies) -> dict[str, str]:
    """Return what the key signed: the sha256 of every file, by its path.

    Args:
        data: The bytes of contract.sig.
        verifies: Of the key that is trusted.

    Raises:
        SignatureInvalid: The signature is not of this key over what is there, or says something else than files.
    """
    # 1. The form of the bundle and its envelope.
    # 2. The signature, over the payload's own bytes. Nothing of the payload was read so far.
    # 3. The statement: files by sha256, each path once, and the digest over all of them.
    payload, signatures = _envelope(_json(data, FILE_NAME))  # 1
    if not any(verifies(signature, pae(payload)) for signature in signatures):  # 2
        raise SignatureInvalid(f"{FILE_NAME} is not signed by the key that is trusted here, or was altered since")
    return _files(_json(payload, "what is signed"))  # 3


def require(data: bytes | None, verifies: Verifies, files: Mapping[str, str]) -> None:
    """Compare what the key signed with what is here.

    Args:
        data: The bytes of contract.sig, ``None`` where there is none.
        verifies: Of the key that is trusted.
        files: The sha256 of contract.json and of every file that it names, by path.

    Raises:
        SignatureInvalid: Nobody signed, another key did, or it signed other files.
    """
    if data is None:
        raise SignatureInvalid(f"there is no {FILE_NAME}: nobody signed this release")
    signed = signed_files(data, verifies)
    differing = sorted(path for path in signed.keys() | files.keys() if signed.get(path) != files.get(path))
    if differing:
        raise SignatureInvalid(f"what was signed is another release: {', '.join(differing[:5])} differ")


def _envelope(said: Any) -> tuple[bytes, list[bytes]]:  # noqa: ANN401 - any JSON value
    match said:
        case {
            "mediaType": str(kind),
            "dsseEnvelope": {"payload": str(payload), "payloadType": str(what), "signatures": [*signatures]},
        } if kind == BUNDLE and what == PAYLOAD_TYPE:
            try:
                return _bytes(payload), [_bytes(item["sig"]) for item in signatures]
            except (binascii.Error, ValueError, KeyError, TypeError):
                pass
    raise SignatureInvalid(f"{FILE_NAME} is no Sigstore bundle with an envelope")


def _files(said: Any) -> dict[str, str]:  # noqa: ANN401 - any JSON value
    match said:
        case {
            "_type": str(kind),
            "subject": [{"digest": {"sha256": str(over_all)}}],
            "predicateType": str(what),
            "predicate": {"serialization": {"method": "files", "hash_type": "sha256"}, "resources": [*resources]},
        } if kind == STATEMENT and what == PREDICATE:
            found = [_file(item) for item in resources]
            if len(dict(found)) == len(found) and root([digest for _, digest in found]) == over_all:
                return dict(found)
    raise SignatureInvalid("what is signed is no list of files by sha256, as OpenSSF model signing 1.0 writes it")


def _file(item: Any) -> tuple[str, str]:  # noqa: ANN401 - any JSON value
    match item:
        case {"name": str(path), "algorithm": "sha256", "digest": str(digest)}:
            if len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
                return path, digest
    raise SignatureInvalid("what is signed names a file without a sha256")


def _json(data: bytes, what: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise SignatureInvalid(f"{what} cannot be read: {error}") from None


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
