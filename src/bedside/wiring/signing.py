"""What signs, and what says who signed without a key."""

import os
from collections.abc import Callable
from pathlib import Path

from bedside.errors import KeyInvalid
from bedside.provenance import keyless, keys, kms
from bedside.provenance.keys import Signer


def signer(named: str, ask: Callable[[], str]) -> Signer:
    """Return what signs: a key of AWS KMS (``awskms://...``), or the private key in a file.

    Args:
        named: Where the key is.
        ask: Asks the person for the password of an encrypted key; only where COSIGN_PASSWORD does not say it.
    """
    if named.startswith(kms.SCHEME):
        return kms.open_key(named)
    try:
        data = Path(named).read_bytes()
    except OSError as error:
        raise KeyInvalid(
            f"the key {named} cannot be read: {error.strerror}", remedy="Name a file with a key."
        ) from None
    said = os.environ.get("COSIGN_PASSWORD")
    return keys.read_private(data, lambda: (ask() if said is None else said).encode())


identifies = keyless.identifies
"""Whether a bundle was signed without a key by an identity: asked of Sigstore, where the extra is installed."""
