import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from tests.provenance.keyring import ALICE, EDDY, cosign_key, pem

from bedside.errors import KeyInvalid
from bedside.provenance import keys
from bedside.provenance.keys import PrivateKey


def unasked() -> bytes:
    raise AssertionError("nobody asks for a password that is not needed")


@pytest.mark.parametrize("key", [ALICE, EDDY])
def test_what_a_key_signs_its_public_half_verifies_and_nothing_else(key: PrivateKey) -> None:
    public = keys.read_public(key.public.pem)
    signature = key.sign(b"message")
    assert public == key.public
    assert public.verifies(signature, b"message")
    assert not public.verifies(signature, b"massage")
    assert not public.verifies(b"\0" + signature[1:], b"message")
    assert not public.verifies(b"", b"message")


@pytest.mark.parametrize("name", ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"])
def test_a_key_of_cosign_is_opened_with_its_password(name: str) -> None:
    assert keys.read_private(cosign_key(ALICE, b"word", name), lambda: b"word").public == ALICE.public


def test_another_password_opens_nothing_and_is_not_said() -> None:
    with pytest.raises(KeyInvalid) as refused:
        keys.read_private(cosign_key(ALICE, b"word"), lambda: b"guess")
    assert "guess" not in str(refused.value)


def test_a_key_that_asks_for_gigabytes_is_not_opened() -> None:
    with pytest.raises(KeyInvalid, match="memory"):
        keys.read_private(cosign_key(ALICE, b"word", cost=1 << 40), lambda: b"word")


def test_pkcs8_is_read_bare_without_asking_and_encrypted_with_its_password() -> None:
    encrypted = ALICE._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    assert keys.read_private(pem(), unasked).public == ALICE.public
    assert keys.read_private(encrypted, lambda: b"word").public == ALICE.public
    with pytest.raises(KeyInvalid):
        keys.read_private(encrypted, lambda: b"guess")


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(public_exponent=65537, key_size=2048)]
)
def test_keys_that_tools_disagree_about_are_refused(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    with pytest.raises(KeyInvalid, match="P-256"):
        keys.read_private(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), unasked)


@pytest.mark.parametrize("data", [b"", b"hello", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_bytes_that_are_no_key_are_refused(data: bytes) -> None:
    with pytest.raises(KeyInvalid):
        keys.read_public(data)
    with pytest.raises(KeyInvalid):
        keys.read_private(data, lambda: b"")


def test_a_private_key_where_a_public_one_belongs_is_refused_by_name() -> None:
    with pytest.raises(KeyInvalid, match="private key"):
        keys.read_public(pem())


def test_openssl_verifies_what_is_signed_here_and_the_other_way_round(tmp_path: Path) -> None:
    message, signature, public, private = (tmp_path / name for name in ("m", "s", "pub", "priv"))
    message.write_bytes(b"message")
    public.write_bytes(ALICE.public.pem)
    private.write_bytes(pem())
    signature.write_bytes(ALICE.sign(b"message"))
    check = ["openssl", "dgst", "-sha256", "-verify", str(public), "-signature", str(signature), str(message)]
    assert subprocess.run(check, capture_output=True, text=True, check=True).stdout == "Verified OK\n"
    theirs = subprocess.run(["openssl", "dgst", "-sha256", "-sign", private, message], capture_output=True, check=True)
    assert ALICE.public.verifies(theirs.stdout, b"message")
