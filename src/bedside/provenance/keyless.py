"""Signing without a key of one's own, through Sigstore (extra ``keyless``): a certificate that lives ten minutes.

Who signs is who is signed in: a workflow of GitHub or GitLab, or a person in a browser. The signature, and with it the
name and digest of what was signed, goes into Sigstore's public log: this is for those who may say so in public.
"""

from typing import Protocol

from bedside.errors import NotTrusted, ToolFailed
from bedside.provenance.cosign import Bundle
from bedside.provenance.policy import Identity

_MISSING = "Install bedside[keyless], or sign and trust with keys."


class Keyless(Protocol):
    """Signs statements as whoever is signed in."""

    def bundle(self, statement: bytes) -> bytes:
        """Return the bundle of a signed in-toto statement, with certificate and proof of the log.

        Raises:
            ToolFailed: Nobody is signed in, or a service fails.
        """
        ...


class Sigstore:
    """Keyless through Sigstore's public services."""

    def bundle(self, statement: bytes) -> bytes:
        """See Keyless."""
        try:
            from sigstore import dsse, errors, oidc
            from sigstore.models import ClientTrustConfig
            from sigstore.sign import SigningContext
        except ImportError:
            raise ToolFailed("keyless signatures need sigstore", remedy=_MISSING) from None
        try:
            services = ClientTrustConfig.production()
            raw = oidc.detect_credential()
            if raw is not None:
                token = oidc.IdentityToken(raw)
            else:
                token = oidc.Issuer(services.signing_config.get_oidc_url()).identity_token()
            with SigningContext.from_trust_config(services).signer(token) as signer:
                return signer.sign_dsse(dsse.Statement(statement)).to_json().encode()
        except (errors.Error, oidc.ExpiredIdentity, oidc.IssuerError) as error:
            raise ToolFailed(
                f"Sigstore does not sign: {type(error).__name__}",
                remedy="Sign in again; from inside a hospital's network, sign with a key.",
            ) from None


def identifies(bundle: Bundle, identity: Identity) -> bool:
    """Whether ``identity`` signed ``bundle``: certificate, time, log and signature, as Sigstore's client verifies them.

    Raises:
        ToolFailed: The extra is not installed, or Sigstore's root of trust cannot be had.
    """
    try:
        from sigstore import errors, models
        from sigstore.verify import Verifier, policy
    except ImportError:
        raise ToolFailed("an identity of the trust policy needs sigstore to be verified", remedy=_MISSING) from None
    try:
        verifier = Verifier.production()
    except errors.Error as error:
        raise ToolFailed(
            f"Sigstore's root of trust cannot be had: {type(error).__name__}",
            remedy="Give access to tuf-repo-cdn.sigstore.dev, or trust keys instead of identities.",
        ) from None
    try:
        read = models.Bundle.from_json(bundle.data)
        kind, payload = verifier.verify_dsse(read, policy.Identity(identity=identity.subject, issuer=identity.issuer))
    except (errors.VerificationError, models.InvalidBundle, ValueError):  # ValueError: its certificate is none
        return False
    if (kind, payload) != (bundle.envelope.payload_type, bundle.envelope.payload):
        raise NotTrusted("a bundle says one thing to one reader and another thing to another")
    return True
