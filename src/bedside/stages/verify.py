"""`bedside verify`: recompute and compare everything about a release."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.errors import VerificationFailed
from bedside.findings import Finding, Severity
from bedside.locking import lockfile
from bedside.locking.environments import EnvironmentCache
from bedside.process import Runner
from bedside.release.compare import differences
from bedside.release.reading import Release, model_file, open_release, survey
from bedside.stages import runtime
from bedside_runtime import golden


@dataclass(frozen=True, slots=True)
class Verified:
    """A release that is what it says it is.

    Attributes:
        release: The release.
        measured: What replaying it measured; ``None`` where only digests were asked for.
    """

    release: Release
    measured: dict[str, Any] | None


def check_files(release: Release) -> None:
    """Compare every file with its recorded digest. Reads everything once, executes nothing.

    Raises:
        VerificationFailed: With one finding for everything that differs.
    """
    found = survey(release.directory)
    findings = list(differences(release.contract, found))
    if not findings:
        findings = [*_lock_findings(release), *_golden_findings(release)]
    if findings:
        raise VerificationFailed(
            f"{release.directory.name} is not what was validated: {len(findings)} difference(s)",
            remedy="Restore the release from where it was packaged, or package it again.",
            findings=findings,
        )


def verify(
    directory: Path,
    *,
    runner: Runner,
    environments: EnvironmentCache,
    digest: str | None = None,
    replay: bool = True,
    on_step: Callable[[str], None] = lambda _: None,
) -> Verified:
    """Prove that the release in ``directory`` is what was validated.

    Args:
        directory: A release.
        runner: Starts the release's runtime.
        environments: Where its locked environment is kept.
        digest: The release digest that it must have, 64 hexadecimal digits, with or without ``sha256:``.
        replay: Whether the golden cases are replayed in the locked environment too.
        on_step: Told what is being done.

    Raises:
        VerificationFailed: Anything differs; the findings say exactly what.
    """
    # 1. The contract is canonical, and its sha256 is the digest that was asked for.
    # 2. Every file is there, nothing else is, and each has its size and sha256.
    # 3. The lock names the distributions that were validated; the golden file holds the cases counted.
    # 4. The release's own runtime, in the locked environment, loads it and answers every golden case.
    on_step("reading the contract")  # 1
    release = open_release(directory)
    _check_digest(release, digest)
    on_step("comparing every file")  # 2, 3
    check_files(release)
    if not replay:
        return Verified(release, None)
    model_file(release)
    on_step("making the locked environment")  # 4
    interpreter = interpreter_of(release, environments)
    on_step("replaying the golden cases")
    return Verified(release, runtime.prove(runner, interpreter, release.directory, release.digest))


def interpreter_of(release: Release, environments: EnvironmentCache) -> Path:
    """Return the Python of the release's locked environment. The lock must have been compared before."""
    minor = ".".join(release.contract.environment.python.split(".")[:2])
    return environments.interpreter(release.lock, release.wheels, minor)


def _check_digest(release: Release, expected: str | None) -> None:
    if expected is not None and expected.removeprefix("sha256:").lower() != release.digest:
        raise VerificationFailed(
            f"the release digest is {release.digest}; {expected} was asked for",
            remedy="This is another release than the one that was validated. Find out where it came from.",
        )


def _lock_findings(release: Release) -> Iterator[Finding]:
    text = release.lock.read_text(encoding="utf-8")
    try:
        locked = {item.name: item.version for item in lockfile.parse(text)}
    except lockfile.LockInvalid as error:
        yield _finding("BED-REL-006", release.lock.name, f"requirements.lock does not lock: {error}")
        return
    validated = release.contract.environment.distributions
    for name in sorted(locked.keys() | validated.keys()):
        if locked.get(name) != validated.get(name):
            here, then = locked.get(name, "nothing"), validated.get(name, "nothing")
            yield _finding("BED-REL-007", release.lock.name, f"{name}: the lock names {here}, validated was {then}")


def _golden_findings(release: Release) -> Iterator[Finding]:
    contract = release.contract
    path = contract.golden.path
    try:
        cases = golden.parse((release.directory / path).read_bytes(), contract.inputs, contract.output)
    except golden.GoldenInvalid as error:
        for problem in error.problems:
            yield _finding("BED-REL-008", path, problem.message, problem.line)
        return
    if len(cases) != contract.golden.cases:
        yield _finding(
            "BED-REL-009", path, f"the file holds {len(cases)} cases; {contract.golden.cases} were validated"
        )


def _finding(rule: str, file: str, message: str, line: int = 0) -> Finding:
    return Finding(
        rule=rule,
        severity=Severity.PATIENT_SAFETY,
        message=message,
        remedy="Package the release again.",
        file=file,
        line=line,
    )
