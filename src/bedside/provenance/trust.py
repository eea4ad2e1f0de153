"""Whether an image, or a release, is what a trust policy asks for. Pure: evidence in, findings out.

Rules, in this order:

1. A policy that trusts nobody accepts nothing; accepting the unsigned has to be asked for, and is said every time.
2. A signature counts where a key or identity of the policy made it, the key has not reached its end, what it signs is
   this very digest, and the name that was signed is one that the policy allows, else the one the image is taken from.
3. A statement counts where its envelope was signed so, and the digest is among its subjects.
4. A scan counts for a time only, and only one that passed; a proof that failed is not made good by another that passed.
5. A model is never older than the oldest version that the policy accepts: a good signature of an old release stays good
   for ever, so the signature alone cannot tell a replay.

What does not verify is passed over, as long as something else does; where nothing does, the finding says what was
there. Nothing unverified is quoted but digests and names of this policy.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from bedside.errors import NotTrusted
from bedside.findings import Finding, Severity
from bedside.provenance import cosign, dsse, release_signature, rules, statements, versions
from bedside.provenance.cosign import Claim, Signed
from bedside.provenance.dsse import Envelope
from bedside.provenance.policy import ATTESTATIONS, TrustedKey, TrustPolicy
from bedside.provenance.statements import Statement

_FUTURE: Final = timedelta(hours=24)
"""How far the clock of who scanned may be ahead."""

Signature: TypeAlias = Signed | Envelope


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found about an image. Nothing of it was verified, but for what says so.

    Attributes:
        digest: Of the image's manifest, compared with its bytes.
        model: Name of its model, an annotation of that manifest.
        version: Version of its model, likewise.
        repository: Where it is taken from, host and path; ``None`` for a layout on disk.
        signatures: Payloads and envelopes that stand beside it.
        unreadable: How many signatures there could not be read.
        identified: Envelopes whose keyless signature was verified, with the name of the policy's identity.
    """

    digest: str
    model: str | None = None
    version: str | None = None
    repository: str | None = None
    signatures: tuple[Signature, ...] = ()
    unreadable: int = 0
    identified: tuple[tuple[str, Envelope], ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseEvidence:
    """What was found about a release.

    Attributes:
        model: Its model's name.
        version: Its version.
        files: The sha256 of contract.json and of every file that it names, by path.
        signature: The bytes of contract.sig, ``None`` where there is none.
    """

    model: str
    version: str
    files: Mapping[str, str]
    signature: bytes | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says.

    Attributes:
        findings: Why not; what is only a note does not refuse.
        signers: Names of the keys and identities of the policy that signed.
        statements: Every statement about the image that one of them signed.
    """

    findings: tuple[Finding, ...]
    signers: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether nothing but notes was found."""
        return all(item.severity is Severity.NOTE for item in self.findings)


def image(policy: TrustPolicy, evidence: Evidence, now: datetime) -> Verdict:
    """Judge an image; see the module for the rules.

    Args:
        policy: What is asked for.
        evidence: What was found.
        now: With a time zone.
    """
    verified = _Verified(policy, evidence, now.astimezone(UTC))
    signers = verified.signers()
    found = [*_nobody(policy), *_replayed(policy, evidence.model, evidence.version)]
    if not policy.accept_unsigned:
        found += _signatures(policy, evidence, verified, signers)
        found += _attestations(policy, verified, now.astimezone(UTC))
    return Verdict(tuple(found), tuple(sorted(signers)), tuple(verified.statements))


def release(policy: TrustPolicy, evidence: ReleaseEvidence, now: datetime) -> Verdict:
    """Judge a release by its contract.sig; see the module for the rules."""
    found = [*_nobody(policy), *_replayed(policy, evidence.model, evidence.version)]
    if policy.accept_unsigned:
        return Verdict(tuple(found))
    keys = tuple(key for key in policy.keys if _counts(key, now))
    by, problems = _release_signer(policy, evidence, keys)
    return Verdict((*found, *problems), (by,) if by is not None else ())


@dataclass
class _Verified:
    """What of the evidence the policy's own keys and identities signed."""

    policy: TrustPolicy
    evidence: Evidence
    now: datetime
    claims: list[tuple[str, Claim]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    elsewhere: list[Statement] = field(default_factory=list)
    expired: set[str] = field(default_factory=set)
    unknown: int = 0

    def __post_init__(self) -> None:
        self.unknown += self.evidence.unreadable
        for signature in self.evidence.signatures:
            self._take(signature)
        for name, envelope in self.evidence.identified:
            self._believe(name, envelope)

    def _take(self, signature: Signature) -> None:
        by = [key for key in self.policy.keys if signature.signed_by(key.public)]
        if not by:
            self.unknown += 1
        for key in by:
            if _counts(key, self.now):
                self._believe(key.name, signature)
            else:
                self.expired.add(key.name)

    def _believe(self, name: str, signature: Signature) -> None:
        """Take what a trusted key signed for what it says; what it does not understand it passes over."""
        try:
            if isinstance(signature, Signed):
                self.claims.append((name, cosign.claim(signature.payload)))
            elif signature.payload_type == dsse.IN_TOTO:
                self._state(name, statements.decode(signature.payload))
        except NotTrusted:
            self.unknown += 1

    def _state(self, name: str, said: Statement) -> None:
        if said.predicate_type == statements.SIGNATURE:
            self.claims += [
                (name, Claim(digest, cosign.repository(called))) for digest, called in said.subjects.items()
            ]
        elif said.about(self.evidence.digest):
            self.statements.append(said)
        else:
            self.elsewhere.append(said)

    def signers(self) -> set[str]:
        """Names of those who signed this digest under a name that is allowed."""
        return {name for name, claim in self.claims if claim.digest == self.evidence.digest and self.allowed(claim)}

    def allowed(self, claim: Claim) -> bool:
        if self.policy.any_repository:
            return True
        if self.policy.repositories:
            return self.policy.names(claim.repository)
        return self.evidence.repository in (None, claim.repository)


def _nobody(policy: TrustPolicy) -> Iterator[Finding]:
    if policy.accept_unsigned:
        yield rules.finding("BED-TRU-002", "the trust policy accepts what nobody signed")
    elif not policy.keys and not policy.identities:
        yield rules.finding("BED-TRU-001", "the trust policy names no key and no identity, so it accepts nothing")


def _signatures(policy: TrustPolicy, evidence: Evidence, verified: _Verified, signers: set[str]) -> Iterator[Finding]:
    if len(signers) >= policy.signatures or not (policy.keys or policy.identities):
        return
    if signers:
        yield rules.finding(
            "BED-TRU-008",
            f"{len(signers)} of the policy signed this image ({', '.join(sorted(signers))}); {policy.signatures} must",
        )
        return
    here = [claim for _, claim in verified.claims if claim.digest == evidence.digest]
    if here:
        where = evidence.repository or "this layout"
        yield rules.finding("BED-TRU-006", f"the image was signed for {_listed(here)}, and is taken from {where}")
    elif verified.claims:
        yield rules.finding("BED-TRU-005", f"what is signed is another image; this one is {evidence.digest}")
    elif verified.expired:
        yield rules.finding("BED-TRU-007", f"the key {', '.join(sorted(verified.expired))} has reached its end")
    elif verified.unknown:
        yield rules.finding(
            "BED-TRU-004",
            f"{verified.unknown} signatures are there, and no key of the policy made any over what is there now",
        )
    elif verified.statements or verified.elsewhere:
        yield rules.finding("BED-TRU-003", "statements are signed, and the image itself is not")
    else:
        yield rules.finding("BED-TRU-003", "nobody signed this image")


def _listed(claims: Iterable[Claim]) -> str:
    return ", ".join(sorted({claim.repository or "no name" for claim in claims}))


def _attestations(policy: TrustPolicy, verified: _Verified, now: datetime) -> Iterator[Finding]:
    short = {uri: name for name, uri in ATTESTATIONS.items()}
    for wanted in policy.attestations:
        name = short.get(wanted, wanted)
        there = [item for item in verified.statements if item.predicate_type == wanted]
        if not there:
            yield _missing(name, wanted, verified)
        elif wanted == statements.SCAN:
            yield from _scan(policy, there, now)
        elif wanted == statements.PROOF and any(item.predicate.get("result") != "PASSED" for item in there):
            yield rules.finding("BED-TRU-015", "a proof of this image that is signed did not pass")


def _missing(name: str, wanted: str, verified: _Verified) -> Finding:
    if any(item.predicate_type == wanted for item in verified.elsewhere):
        return rules.finding("BED-TRU-010", f"the statement {name} that is signed is about another image")
    return rules.finding("BED-TRU-009", f"no statement {name} about this image is signed by anybody of the policy")


def _scan(policy: TrustPolicy, scans: Sequence[Statement], now: datetime) -> Iterator[Finding]:
    """The newest scan decides: an older one that passed says nothing about what is known today."""
    dated = [(_finished(item.predicate), item) for item in scans]
    newest, scan = max(dated, key=lambda one: one[0])
    if newest > now + _FUTURE:
        yield rules.finding("BED-TRU-011", "the scan says that it was made in the future")
    elif now - newest > policy.scan_max_age:
        yield rules.finding(
            "BED-TRU-011", f"the scan is {(now - newest).days} days old; {policy.scan_max_age.days} are allowed"
        )
    elif not _passed(scan.predicate):
        yield rules.finding("BED-TRU-012", "the newest scan of this image did not pass")


def _finished(predicate: Mapping[str, Any]) -> datetime:
    match predicate:
        case {"metadata": {"scanFinishedOn": str(text)}}:
            try:
                found = datetime.fromisoformat(text)
            except ValueError:
                pass
            else:
                return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)


def _passed(predicate: Mapping[str, Any]) -> bool:
    match predicate:
        case {"scanner": {"result": {"verdict": "passed"}}}:
            return True
    return False


def _replayed(policy: TrustPolicy, model: str | None, version: str | None) -> Iterator[Finding]:
    if not policy.minimum:
        return
    if model is None or version is None:
        yield rules.finding("BED-TRU-014", "the image does not say which model it is, or which version")
        return
    least = policy.minimum.get(model)
    if least is None:
        return
    try:
        replayed = versions.older(version, least)
    except versions.NotAVersion:
        yield rules.finding("BED-TRU-014", f"what the image says of {model} is no version")
        return
    if replayed:
        yield rules.finding("BED-TRU-013", f"{model} {version} is older than {least}, the oldest that is accepted")


def _counts(key: TrustedKey, now: datetime) -> bool:
    return key.until is None or now.astimezone(UTC).date() <= key.until


def _release_signer(
    policy: TrustPolicy, evidence: ReleaseEvidence, keys: Sequence[TrustedKey]
) -> tuple[str | None, list[Finding]]:
    if not policy.keys:
        return None, [rules.finding("BED-TRU-001", "the trust policy names no key that could have signed a release")]
    if evidence.signature is None:
        return None, [rules.finding("BED-TRU-003", "the release has no contract.sig: nobody signed it")]
    for key in keys:
        if release_signature.signed_by(evidence.signature, key.public):
            return _same_files(key, evidence)
    if any(release_signature.signed_by(evidence.signature, key.public) for key in policy.keys):
        return None, [rules.finding("BED-TRU-007", "the key that signed the release has reached its end")]
    return None, [rules.finding("BED-TRU-004", "no key of the policy signed contract.sig as it is now")]


def _same_files(key: TrustedKey, evidence: ReleaseEvidence) -> tuple[str | None, list[Finding]]:
    signed = release_signature.files(evidence.signature or b"", key.public)
    if signed == dict(evidence.files):
        return key.name, []
    differing = sorted(
        path for path in signed.keys() | evidence.files.keys() if signed.get(path) != evidence.files.get(path)
    )
    return None, [rules.finding("BED-TRU-005", f"what is signed is another release: {', '.join(differing[:5])} differ")]
