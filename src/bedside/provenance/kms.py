"""A key that AWS KMS keeps and never gives away (extra ``kms``): ``awskms:///alias/release``, as cosign writes it.

Only the digest of what is signed goes to the service. What it answers is verified with the public key before it is
used.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

from bedside.errors import KeyInvalid, ToolFailed, UsageError
from bedside.provenance.keys import PublicKey, read_public

SCHEME: Final = "awskms://"


class Client(Protocol):
    """What is asked of AWS KMS: two methods of boto3's client."""

    def get_public_key(self, *, KeyId: str) -> Mapping[str, Any]:  # noqa: N803 - the service's own word
        """Return the public half of a key."""
        ...

    def sign(
        self,
        *,
        KeyId: str,  # noqa: N803
        Message: bytes,  # noqa: N803
        MessageType: str,  # noqa: N803
        SigningAlgorithm: str,  # noqa: N803
    ) -> Mapping[str, Any]:
        """Sign a digest."""
        ...


class AwsKey:
    """A Signer whose private key is in AWS KMS: ECC_NIST_P256, SIGN_VERIFY."""

    def __init__(self, client: Client, key_id: str, failures: tuple[type[Exception], ...] = ()) -> None:
        """Ask for the public key.

        Args:
            client: Of the service.
            key_id: Id, alias or ARN.
            failures: What the client raises where the service refuses or cannot be reached.

        Raises:
            ToolFailed: It refuses or cannot be reached.
            KeyInvalid: The key is of another kind.
        """
        self._client, self._key_id, self._failures = client, key_id, failures
        said = self._asked("give the public key", lambda: client.get_public_key(KeyId=key_id))
        if said.get("KeyUsage") != "SIGN_VERIFY":
            raise KeyInvalid(f"the key {key_id} of AWS KMS is not for signing", remedy="Make one with SIGN_VERIFY.")
        self._public = read_public(said["PublicKey"])

    @property
    def public(self) -> PublicKey:
        """See Signer."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """See Signer."""
        said = self._asked(
            "sign",
            lambda: self._client.sign(
                KeyId=self._key_id,
                Message=hashlib.sha256(message).digest(),
                MessageType="DIGEST",
                SigningAlgorithm="ECDSA_SHA_256",
            ),
        )
        signature: bytes = said["Signature"]
        if not self._public.verifies(signature, message):
            raise ToolFailed("AWS KMS answered with a signature that its own public key does not verify")
        return signature

    def _asked(self, doing: str, ask: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a call of the client
        try:
            said: Mapping[str, Any] = ask()
        except self._failures as error:
            raise ToolFailed(
                f"AWS KMS does not {doing} with {self._key_id}: {type(error).__name__}",
                remedy="Look at the name of the key, the region and the credentials; `aws sts get-caller-identity` "
                "shows whose they are.",
            ) from None
        return said


def open_key(uri: str) -> AwsKey:
    """Return the key that ``uri`` names: ``awskms://[endpoint]/id``, with credentials as the AWS tools find them.

    Raises:
        UsageError: It names none.
        ToolFailed: The extra is not installed, or the service fails.
    """
    endpoint, slash, key_id = uri.removeprefix(SCHEME).partition("/")
    if not slash or not key_id:
        raise UsageError(f"{uri} names no key", remedy="Write awskms:///alias/NAME, or awskms:///ARN.")
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ToolFailed("AWS KMS needs boto3", remedy="Install bedside[kms].") from None
    region = key_id.split(":")[3] if key_id.startswith("arn:") else None
    try:
        client = boto3.client("kms", region_name=region, endpoint_url=f"https://{endpoint}" if endpoint else None)
    except (BotoCoreError, ValueError) as error:
        raise ToolFailed(
            f"AWS KMS cannot be reached: {type(error).__name__}", remedy="Set AWS_REGION, and credentials."
        ) from None
    return AwsKey(client, key_id, (BotoCoreError, ClientError))
