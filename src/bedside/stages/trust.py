"""Whether an image or a release is what a trust policy asks for: evidence gathered, then judged by `provenance.trust`.

`verify`, `push` and `deploy` call `demand`; nothing goes on where it raises.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from bedside.errors import NotTrusted, TrustInvalid
from bedside.findings import Finding, Severity
from bedside.image.attached import Place
from bedside.provenance import policy as policies
from bedside.provenance import trust
from bedside.provenance.cosign import Bundle
from bedside.provenance.dsse import Envelope
from bedside.provenance.policy import Identity, TrustPolicy
from bedside.provenance.trust import ReleaseEvidence, Verdict
from bedside.release.reading import Release
from bedside.stages import evidence
from bedside.stages.sign import signed_files
from bedside_runtime.signature import FILE_NAME as SIGNATURE

Identifies: TypeAlias = Callable[[Bundle, Identity], bool]
"""Whether a bundle was signed without a key by this identity; see `provenance.keyless`."""


def read_policy(path: Path) -> TrustPolicy:
    """Read the trust policy in ``path``; key files are named relative to it.

    Raises:
        TrustInvalid: It cannot be read, or says something that is none.
    """
    return policies.decode(_bytes(path).decode("utf-8", "replace"), lambda name: _bytes(path.parent / name))


def demand(place: Place, policy: TrustPolicy, now: datetime, identifies: Identifies) -> Verdict:
    """Judge the image at ``place``.

    Args:
        place: Where it is; its digest was compared with its bytes.
        policy: What is asked for.
        now: With a time zone.
        identifies: Asked about bundles with a certificate, where the policy names identities.

    Raises:
        NotTrusted: It is not what the policy asks for; every reason is a finding.
    """
    collected, certified = evidence.of_image(place)
    identified = tuple(_identified(policy.identities, certified, identifies))
    verdict = trust.image(policy, replace(collected, identified=identified), now)
    return _or_refused(verdict, str(place.descriptor.digest))


def demand_release(release: Release, policy: TrustPolicy, now: datetime) -> Verdict:
    """Judge a release by its contract.sig; that its files are what its contract says is compared elsewhere.

    Raises:
        NotTrusted: It is not what the policy asks for.
    """
    path = release.directory / SIGNATURE
    collected = ReleaseEvidence(
        model=release.contract.name,
        version=release.contract.version,
        files=signed_files(release),
        signature=_bytes(path) if path.is_file() and not path.is_symlink() else None,
    )
    return _or_refused(trust.release(policy, collected, now), release.contract.ref)


def notes(verdict: Verdict) -> tuple[Finding, ...]:
    """Return what has to be said about a verdict even where it trusts."""
    return tuple(item for item in verdict.findings if item.severity is Severity.NOTE)


def _identified(
    identities: Sequence[Identity], certified: Sequence[Bundle], identifies: Identifies
) -> list[tuple[str, Envelope]]:
    return [(one.name, item.envelope) for one in identities for item in certified if identifies(item, one)]


def _or_refused(verdict: Verdict, what: str) -> Verdict:
    if verdict.trusted:
        return verdict
    reasons = [item for item in verdict.findings if item.severity is not Severity.NOTE]
    raise NotTrusted(f"{what} is not trusted: {len(reasons)} reason(s)", findings=verdict.findings)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustInvalid(f"{path} cannot be read: {error.strerror}") from None
