"""A key of AWS KMS, kept by moto's server and asked for over HTTP."""

from collections.abc import Iterator

import boto3
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.utils import ECDSAPrivateKey
from moto.server import ThreadedMotoServer

from bedside.errors import KeyInvalid, ToolFailed, UsageError
from bedside.provenance import kms
from bedside.provenance.kms import AwsKey


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def _credentials(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def _digests_are_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto says of itself that it does not know MessageType DIGEST; AWS documents it as done here."""

    def sign(self: ECDSAPrivateKey, message: bytes, signing_algorithm: str) -> bytes:
        assert (len(message), signing_algorithm) == (32, "ECDSA_SHA_256")
        return self.private_key.sign(message, ec.ECDSA(Prehashed(hashes.SHA256())))

    monkeypatch.setattr(ECDSAPrivateKey, "sign", sign)


def made(spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
    key: str = boto3.client("kms").create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
    return key


def test_a_key_in_kms_signs_what_its_public_half_verifies() -> None:
    boto3.client("kms").create_alias(AliasName="alias/release", TargetKeyId=made())
    key = kms.open_key("awskms:///alias/release")
    assert key.public.verifies(key.sign(b"message"), b"message")


def test_an_arn_says_its_region_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    key_id = made()
    arn = boto3.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]["Arn"]
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert kms.open_key(f"awskms:///{arn}").public == AwsKey(boto3.client("kms", "eu-central-1"), key_id).public


def test_a_key_that_is_not_there_is_refused_with_its_name() -> None:
    with pytest.raises(ToolFailed, match="alias/nobody"):
        kms.open_key("awskms:///alias/nobody")


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(KeyInvalid):
        kms.open_key(f"awskms:///{made('RSA_2048')}")


def test_a_service_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ToolFailed, match="EndpointConnectionError"):
        kms.open_key("awskms:///alias/release")


@pytest.mark.parametrize("uri", ["awskms://", "awskms://alias", "awskms:///"])
def test_a_uri_without_a_key_is_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        kms.open_key(uri)


class Lying:
    """A service that gives the public half of one key, and signs with another."""

    def __init__(self, first: str, second: str) -> None:
        self._client, self._first, self._second = boto3.client("kms"), first, second

    def get_public_key(self, *, KeyId: str) -> dict[str, object]:  # noqa: N803
        return self._client.get_public_key(KeyId=self._first)  # type: ignore[no-any-return]

    def sign(self, *, KeyId: str, **rest: object) -> dict[str, object]:  # noqa: N803
        return self._client.sign(KeyId=self._second, **rest)  # type: ignore[no-any-return]


def test_a_signature_that_the_public_half_does_not_verify_is_never_used() -> None:
    with pytest.raises(ToolFailed, match="does not verify"):
        AwsKey(Lying(made(), made()), "any").sign(b"message")
