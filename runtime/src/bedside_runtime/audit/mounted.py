"""Names under which a pod finds its keys. Pure."""

from typing import Final

HMAC_KEY: Final = "audit-hmac.key"
SIGNING_KEY: Final = "audit-signing.pem"
RECIPIENT: Final = "audit-recipient.pem"
