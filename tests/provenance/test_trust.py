"""One good image, and everything that can be wrong about it: each is refused by its own rule."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.provenance.keyring import ALICE, BOB, MALLORY, NOW

from bedside.findings import Severity
from bedside.provenance import cosign, dsse, release_signature, statements, trust
from bedside.provenance.cosign import Claim, Signed
from bedside.provenance.dsse import Envelope
from bedside.provenance.keys import PrivateKey
from bedside.provenance.policy import Identity, TrustedKey, TrustPolicy
from bedside.provenance.trust import Evidence, ReleaseEvidence

DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
HERE, ELSEWHERE = "registry.example.org/icu", "registry.example.org/test/icu"
POLICY = TrustPolicy(keys=(TrustedKey("alice", ALICE.public), TrustedKey("bob", BOB.public)), minimum={"icu": "1.2.0"})


def signed(digest: str = DIGEST, repository: str = HERE, by: PrivateKey = ALICE) -> Signed:
    payload = cosign.payload(Claim(digest, repository))
    return Signed(payload, by.sign(payload))


def stated(
    kind: str, predicate: dict[str, Any] | None = None, digest: str = DIGEST, by: PrivateKey = ALICE
) -> Envelope:
    return dsse.sign(statements.encode(digest, "icu", kind, predicate or {}), by)


def scan(verdict: str = "passed", age: timedelta = timedelta(days=1), by: PrivateKey = ALICE) -> Envelope:
    finished = (NOW - age).isoformat()
    predicate = {"scanner": {"result": {"verdict": verdict}}, "metadata": {"scanFinishedOn": finished}}
    return stated(statements.SCAN, predicate, by=by)


SBOM, PROVENANCE, SCAN = stated(statements.SBOM), stated(statements.PROVENANCE), scan()
PROOF = stated(statements.PROOF, {"result": "PASSED"})
GOOD = Evidence(DIGEST, "icu", "1.2.0", HERE, (signed(), SBOM, PROVENANCE, PROOF, SCAN))


def rules(policy: TrustPolicy, evidence: Evidence) -> list[str]:
    return [item.rule for item in trust.image(policy, evidence, NOW).findings]


def having(*signatures: Signed | Envelope) -> Evidence:
    return replace(GOOD, signatures=signatures)


def test_an_image_that_is_what_the_policy_asks_for_is_trusted_and_it_is_said_who_signed() -> None:
    verdict = trust.image(POLICY, GOOD, NOW)
    assert (verdict.trusted, verdict.findings, verdict.signers) == (True, (), ("alice",))
    assert {item.predicate_type for item in verdict.statements} == set(POLICY.attestations)


STATED = (SBOM, PROVENANCE, PROOF, SCAN)
REFUSED: dict[str, tuple[Evidence, list[str]]] = {
    "unsigned": (having(), ["BED-TRU-003", *["BED-TRU-009"] * 4]),
    "only the statements are signed": (having(*STATED), ["BED-TRU-003"]),
    "another key": (having(signed(by=MALLORY), *STATED), ["BED-TRU-004"]),
    "another digest": (having(signed(OTHER), *STATED), ["BED-TRU-005"]),
    "an altered payload": (
        having(Signed(signed().payload.replace(b"abab", b"abac"), signed().signature), *STATED),
        ["BED-TRU-004"],
    ),
    "a statement where an image's signature belongs": (
        having(Signed(SBOM.payload, ALICE.sign(SBOM.payload)), *STATED),
        ["BED-TRU-004"],
    ),
    "signed for another repository": (having(signed(repository=ELSEWHERE), *STATED), ["BED-TRU-006"]),
    "an unreadable signature": (replace(having(*STATED), unreadable=1), ["BED-TRU-004"]),
    "no statement": (having(signed()), ["BED-TRU-009"] * 4),
    "a statement by another key": (
        having(signed(), stated(statements.SBOM, by=MALLORY), PROVENANCE, PROOF, SCAN),
        ["BED-TRU-009"],
    ),
    "a statement about another image": (
        having(signed(), stated(statements.SBOM, digest=OTHER), PROVENANCE, PROOF, SCAN),
        ["BED-TRU-010"],
    ),
    "a statement of a foreign kind": (
        having(signed(), stated("https://example.org/bom"), PROVENANCE, PROOF, SCAN),
        ["BED-TRU-009"],
    ),
    "an old scan": (having(signed(), SBOM, PROVENANCE, PROOF, scan(age=timedelta(days=31))), ["BED-TRU-011"]),
    "a scan of tomorrow": (having(signed(), SBOM, PROVENANCE, PROOF, scan(age=timedelta(days=-2))), ["BED-TRU-011"]),
    "a scan without a time": (having(signed(), SBOM, PROVENANCE, PROOF, stated(statements.SCAN)), ["BED-TRU-011"]),
    "a scan that did not pass": (having(signed(), SBOM, PROVENANCE, PROOF, scan("refused")), ["BED-TRU-012"]),
    "a newer scan that did not pass": (
        having(signed(), SBOM, PROVENANCE, PROOF, SCAN, scan("refused", timedelta(hours=1))),
        ["BED-TRU-012"],
    ),
    "an older release, well signed": (replace(GOOD, version="1.1.9"), ["BED-TRU-013"]),
    "a release candidate of the oldest": (replace(GOOD, version="1.2.0-rc.1"), ["BED-TRU-013"]),
    "no version": (replace(GOOD, version=None), ["BED-TRU-014"]),
    "no model": (replace(GOOD, model=None), ["BED-TRU-014"]),
    "a version that is none": (replace(GOOD, version="newest"), ["BED-TRU-014"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_image_that_is_not_is_refused_by_its_own_rule(case: str) -> None:
    evidence, expected = REFUSED[case]
    verdict = trust.image(POLICY, evidence, NOW)
    assert [item.rule for item in verdict.findings] == expected
    assert not verdict.trusted
    assert all(item.remedy for item in verdict.findings)


def test_what_does_not_verify_stands_in_nobody_s_way_where_something_does() -> None:
    junk = (signed(by=MALLORY), signed(OTHER), signed(repository=ELSEWHERE), stated("x:y", by=MALLORY))
    assert rules(POLICY, having(*junk, *GOOD.signatures)) == []


def test_a_scan_that_failed_is_made_good_by_a_newer_one_that_passed() -> None:
    assert rules(POLICY, having(signed(), SBOM, PROVENANCE, PROOF, scan("refused"), scan(age=timedelta(hours=1)))) == []


def test_a_proof_that_failed_somewhere_is_not_made_good_by_one_that_passed() -> None:
    proven = replace(POLICY, attestations=(statements.PROOF,))
    passed, failed = (stated(statements.PROOF, {"result": word}) for word in ("PASSED", "FAILED"))
    assert rules(proven, having(signed(), passed)) == []
    assert rules(proven, having(signed(), passed, failed)) == ["BED-TRU-015"]
    assert rules(proven, having(signed(), stated(statements.PROOF))) == ["BED-TRU-015"]


def test_a_key_counts_on_its_last_day_and_not_on_the_next() -> None:
    last = replace(POLICY, keys=(TrustedKey("alice", ALICE.public, NOW.date()),))
    assert rules(last, GOOD) == []
    assert next(item.rule for item in trust.image(last, GOOD, NOW + timedelta(days=1)).findings) == "BED-TRU-007"


def test_two_signatures_are_two_keys_not_one_key_twice() -> None:
    both = replace(POLICY, signatures=2)
    assert rules(both, having(signed(), signed(), *STATED)) == ["BED-TRU-008"]
    assert rules(both, having(signed(), signed(by=BOB), *STATED)) == []


def test_an_image_may_be_taken_from_a_mirror_where_the_policy_names_what_it_was_signed_for() -> None:
    mirrored = replace(GOOD, repository="mirror.example.org/icu")
    assert rules(POLICY, mirrored) == ["BED-TRU-006"]
    assert rules(replace(POLICY, repositories=("registry.example.org/*",)), mirrored) == []
    assert rules(replace(POLICY, any_repository=True), mirrored) == []
    assert rules(replace(POLICY, repositories=("other.example.org/*",)), GOOD) == ["BED-TRU-006"]


def test_a_layout_on_disk_is_in_no_repository_yet() -> None:
    assert rules(POLICY, replace(GOOD, repository=None)) == []
    assert rules(replace(POLICY, repositories=(ELSEWHERE,)), replace(GOOD, repository=None)) == ["BED-TRU-006"]


def test_a_bundle_of_cosign_signs_an_image_as_well() -> None:
    bundled = dsse.sign(statements.encode(DIGEST, HERE, statements.SIGNATURE, {}), ALICE)
    nameless = dsse.sign(statements.encode(DIGEST, "", statements.SIGNATURE, {}), ALICE)
    assert rules(POLICY, having(bundled, *STATED)) == []
    assert rules(POLICY, having(nameless, *STATED)) == ["BED-TRU-006"]
    assert rules(replace(POLICY, any_repository=True), having(nameless, *STATED)) == []


def test_an_identity_counts_as_a_key_does() -> None:
    policy = TrustPolicy(identities=(Identity("workflow", "issuer", "subject"),))
    said = dsse.sign(statements.encode(DIGEST, HERE, statements.SIGNATURE, {}), MALLORY)
    proof = stated(statements.PROOF, {"result": "PASSED"}, by=MALLORY)
    others = (stated(statements.SBOM, by=MALLORY), stated(statements.PROVENANCE, by=MALLORY), scan(by=MALLORY), proof)
    identified = tuple(("workflow", item) for item in (said, *others))
    assert rules(policy, replace(having(), identified=identified)) == []
    assert rules(policy, having(said, *others))[0] == "BED-TRU-004"


def test_a_policy_that_trusts_nobody_accepts_nothing() -> None:
    assert "BED-TRU-001" in rules(TrustPolicy(attestations=()), GOOD)
    assert not trust.image(TrustPolicy(attestations=()), GOOD, NOW).trusted


def test_accepting_the_unsigned_is_said_every_time_and_a_replay_is_still_refused() -> None:
    unsafe = TrustPolicy(accept_unsigned=True, minimum={"icu": "1.2.0"})
    verdict = trust.image(unsafe, having(), NOW)
    assert verdict.trusted
    assert [(item.rule, item.severity) for item in verdict.findings] == [("BED-TRU-002", Severity.NOTE)]
    assert not trust.image(unsafe, replace(GOOD, version="1.0.0"), NOW).trusted


def test_a_statement_without_a_minimum_needs_no_version() -> None:
    assert rules(replace(POLICY, minimum={}), replace(GOOD, model=None, version=None)) == []
    assert rules(replace(POLICY, minimum={"other": "9.0.0"}), GOOD) == []


# -- releases

FILES = {"contract.json": "aa" * 32, "model/m.ubj": "bb" * 32}
RELEASE = ReleaseEvidence("icu", "1.2.0", FILES, release_signature.sign("icu", FILES, ALICE))
CHANGES: dict[str, tuple[Callable[[], ReleaseEvidence], str]] = {
    "unsigned": (lambda: replace(RELEASE, signature=None), "BED-TRU-003"),
    "another key": (lambda: replace(RELEASE, signature=release_signature.sign("icu", FILES, MALLORY)), "BED-TRU-004"),
    "no signature at all": (lambda: replace(RELEASE, signature=b"{}"), "BED-TRU-004"),
    "another release": (lambda: replace(RELEASE, files={**FILES, "contract.json": "ac" * 32}), "BED-TRU-005"),
    "a file more": (lambda: replace(RELEASE, files={**FILES, "code/x.py": "ac" * 32}), "BED-TRU-005"),
    "an older one": (lambda: replace(RELEASE, version="1.0.0"), "BED-TRU-013"),
}


def test_a_signed_release_is_trusted() -> None:
    verdict = trust.release(POLICY, RELEASE, NOW)
    assert (verdict.trusted, verdict.signers) == (True, ("alice",))


@pytest.mark.parametrize("case", CHANGES)
def test_a_release_that_is_not_as_it_was_signed_is_refused(case: str) -> None:
    change, expected = CHANGES[case]
    assert [item.rule for item in trust.release(POLICY, change(), NOW).findings] == [expected]


def test_a_release_of_a_key_that_has_reached_its_end_is_refused() -> None:
    ended = TrustPolicy(keys=(TrustedKey("alice", ALICE.public, (NOW - timedelta(days=1)).date()),))
    assert [item.rule for item in trust.release(ended, RELEASE, NOW).findings] == ["BED-TRU-007"]


def test_no_policy_without_a_key_accepts_a_release() -> None:
    assert not trust.release(TrustPolicy(), RELEASE, NOW).trusted
