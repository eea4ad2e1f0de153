"""Where a model file lies in object storage: ``s3://``, ``gs://`` or ``az://``, a bucket and a key. Pure.

An address never holds a key, a token or a signed query: what reads it shows who it is by its workload's identity.
"""

import re
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from bedside_runtime.errors import AddressInvalid

Scheme: TypeAlias = Literal["s3", "gs", "az"]

SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_KEY: Final = re.compile(r"[A-Za-z0-9!_.*'()=+,-]+(/[A-Za-z0-9!_.*'()=+,-]+)*")
"""Characters that are safe in the keys of all three, and need no escape anywhere."""

_LONGEST: Final = 1_000


class Address(Struct, frozen=True):
    """An object in object storage.

    Attributes:
        scheme: ``s3`` Amazon S3 and what speaks as it does, ``gs`` Google Cloud Storage, ``az`` Azure Blob Storage.
        bucket: The bucket; with Azure the container, whose account stands in the environment.
        key: Its name there.
    """

    scheme: Scheme
    bucket: str
    key: str

    @property
    def name(self) -> str:
        """The last part of the key, which is the file's name in the release."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"


def is_address(text: str) -> bool:
    """Whether ``text`` wants to be an address and no path: it has a scheme."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def parse(text: str) -> Address:
    """Return the address that ``text`` is.

    Raises:
        AddressInvalid: It is none. The message does not repeat it: somebody may have written a token into it.
    """
    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    for known in SCHEMES:
        if scheme == known:
            if len(text) > _LONGEST or not _BUCKET.fullmatch(bucket) or not _KEY.fullmatch(key) or _dots(key):
                raise AddressInvalid(f"what follows {known}:// is no bucket and key, or holds more than they do")
            return Address(known, bucket, key)
    raise AddressInvalid("a model file is fetched from s3://, gs:// or az://, and from nowhere else")


def _dots(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))
