"""The proof of an image: what it answers, how it is held, how it stops, and that it refuses a changed model.

All of it happens in a container of the image itself, with the image's own interpreter: no shell and no network.
"""

import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bedside.errors import BedsideError, GateRefused, ToolFailed, UsageError, VerificationFailed
from bedside.image import plan
from bedside.image.containment import SCRATCH, Containment, Limits
from bedside.image.hosts import Container, Startable
from bedside.process import Completed
from bedside.release.reading import Release, describe
from bedside.stages.inspected import Inspected
from bedside_runtime.contract import Audit

CHECKS: Final = (
    "every golden case is answered over HTTP as validated",
    "root is read-only, no capabilities, no new privileges, no network, the release's limits",
    "the user can write no application file",
    "SIGTERM ends it with exit code 0",
    "with one bit of the model flipped it is never ready and ends with exit code 3",
)
"""What a proof shows, in the words of the record."""

STARTUP: Final = 300.0
"""Seconds until a server must be ready; limits, a cold disk and a busy machine make a start slow."""

_STOP: Final = 60.0
"""Seconds beside the release's own grace until a container that was told to stop must have ended."""

_KEYS: Final = "/run/secrets/bedside"
_BY_CODE: Final[Mapping[int, type[BedsideError]]] = {1: GateRefused, 3: VerificationFailed}


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen.

    Attributes:
        host: Where the container ran.
        time: When, RFC 3339.
        limits: What it might use.
        seen: What the runtime said from inside: ``replayed``, ``confinement``, ``environment``.
        seconds: How long each part took: ``start`` until the server was ready, ``replay``, ``stop``, ``refusal``.
    """

    host: str
    time: str
    limits: Limits
    seen: Mapping[str, Any]
    seconds: Mapping[str, float]

    @property
    def cases(self) -> int:
        """How many golden cases were answered."""
        return int(self.seen["replayed"]["cases"])

    @property
    def memory_peak(self) -> int:
        """Most bytes that the container used."""
        return int(self.seen["confinement"]["memory_peak"])


def prove(
    image: Inspected,
    held: Startable,
    host: str,
    limits: Limits,
    *,
    model: Path | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Proof:
    """Prove ``image``, which ``held`` can start.

    Args:
        image: The image; its config and files were compared already.
        held: The same image on a host.
        host: What that is called.
        limits: What the release may use.
        model: The model file, where the image does not carry it.
        on_step: Told what is being done.

    Raises:
        UsageError: The image does not carry its model, and no file is named.
        VerificationFailed: It does not answer as validated, or does not refuse what was changed.
        ToolFailed: The host does not hold it as it was asked to.
    """
    # 1. Start it as a cluster does, on loopback: read-only, no capabilities, no network, its user, its limits.
    # 2. From inside, ask every golden case over HTTP, and see what the kernel really holds it to.
    # 3. Tell it to stop: it drains and exits 0.
    # 4. Start it with one bit of the model flipped: it is never ready, says why, and exits 3.
    file = _model(image.release, model)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    clock, seconds = time.monotonic, {}
    with _containment(image.release, limits) as bare:
        containment = _with_model(bare, image.release, file)
        on_step(f"starting it in {host}")
        started = clock()
        with held.start(containment, _command(image.release)) as container:  # 1
            on_step(f"asking {image.release.contract.golden.cases} golden cases from inside")
            seen = _asked(container, image.release)  # 2
            seconds["start"] = round(clock() - started - seen["replayed"]["seconds"], 3)
            seconds["replay"] = seen["replayed"]["seconds"]
            _compare(seen["confinement"], containment.limits)
            seconds["stop"] = _stopped(container, image.release, clock)  # 3
        on_step("flipping one bit of the model")
        seconds["refusal"] = _refused(image, held, containment, file, clock)  # 4
    return Proof(host, now, limits, seen, seconds)


def _model(release: Release, given: Path | None) -> Path:
    """Return the model file: the image's own, or the one that stands in for what a pod fetches."""
    model = release.contract.model
    if model.source is None:
        return release.model
    if given is None:
        raise UsageError(
            f"the image does not carry its model, which lies at {model.source}",
            remedy="Name the file with --model, as `bedside fetch RELEASE` brings it; or compare --digests-only.",
        )
    recorded = next(item for item in release.contract.files if item.path == model.artifact)
    if describe(model.artifact, given).sha256 != recorded.sha256:
        raise VerificationFailed(f"{given} is not the model file that was validated")
    return given


def _with_model(containment: Containment, release: Release, model: Path) -> Containment:
    """Put the model where a pod's init container puts it."""
    if release.contract.model.source is None:
        return containment
    place = f"{plan.RELEASE}/{release.contract.model.artifact}"
    return replace(containment, covered={**containment.covered, place: model.resolve()})


def _command(release: Release) -> tuple[str, ...]:
    return ("serve", plan.RELEASE, "--host", "127.0.0.1", "--digest", f"sha256:{release.digest}", "--local")


def _ask(container: Container, release: Release) -> Completed:
    words = (plan.PYTHON, "-I", "-m", "bedside_runtime", "replay", plan.RELEASE, "--digest", release.digest)
    return container.execute((*words, "--within", f"{STARTUP:g}", "--json"), timeout=2 * STARTUP)


def _asked(container: Container, release: Release) -> dict[str, Any]:
    done = _ask(container, release)
    if not done.ok:
        raise _failed(done, container)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def _failed(done: Completed, container: Container) -> BedsideError:
    """Return what the runtime said from inside; where it said nothing, what the server logged last."""
    try:
        problem = json.loads(done.stdout)
        return _BY_CODE.get(done.returncode, ToolFailed)(problem["message"], remedy=problem["remedy"])
    except (json.JSONDecodeError, KeyError, TypeError):
        logged = [line for line in container.log().splitlines() if line.strip()] or ["nothing"]
        return ToolFailed(
            f"the container ended, or took no command, with exit code {done.returncode}; it logged: {logged[-1][:300]}",
            remedy="137 is the kernel's answer to more memory than the release's limit: see [deploy.resources] memory.",
        )


def _compare(seen: Mapping[str, Any], limits: Limits) -> None:
    """Hold what the kernel does against what was asked for."""
    if seen["writable"]:
        raise VerificationFailed(f"the image's user may write {', '.join(seen['writable'])}")
    wanted = {
        "user": plan.USER,
        "group": plan.USER,
        "capabilities": 0,
        "no_new_privileges": True,
        "root_read_only": True,
        "interfaces": [],
        "memory_limit": limits.memory,
        "cpu_limit": limits.cpus,
    }
    wrong = [f"{name} is {seen[name]}, asked for was {value}" for name, value in wanted.items() if seen[name] != value]
    if wrong:
        raise ToolFailed(
            f"the container is not held as it was asked to be: {'; '.join(wrong)}",
            remedy="Prove it on a host whose engine can set limits: control groups must be delegated to it.",
        )


def _stopped(container: Container, release: Release, clock: Callable[[], float]) -> float:
    asked = clock()
    code = container.stop(release.contract.serve.shutdown_seconds + _STOP)
    if code != 0:
        how = "does not end" if code is None else f"ends with exit code {code}"
        raise VerificationFailed(f"told to stop, the image's server {how}")
    return round(clock() - asked, 3)


def _refused(
    image: Inspected, held: Startable, containment: Containment, model: Path, clock: Callable[[], float]
) -> float:
    """Start the image with a changed model, and see it refused by its server."""
    release, started = image.release, clock()
    artifact = release.contract.model.artifact
    with tempfile.TemporaryDirectory(prefix="bedside-flipped-") as work:
        flipped = Path(work, "flipped")
        _flip(model, flipped)
        changed = replace(containment, covered={**containment.covered, f"{plan.RELEASE}/{artifact}": flipped})
        with held.start(changed, _command(release)) as container:
            done = _ask(container, release)
            if done.returncode != VerificationFailed.exit_code or "integrity" not in done.stdout:
                raise VerificationFailed(
                    "with one bit of the model flipped, the image's server does not say that its release was changed",
                    remedy="Do not use this image, and report this: it is a defect.",
                )
            code = container.stop(release.contract.serve.shutdown_seconds + _STOP)
    if code != VerificationFailed.exit_code:
        raise VerificationFailed(
            f"with one bit of the model flipped, the image's server ends with exit code {code} instead of 3",
            remedy="Do not use this image, and report this: it is a defect.",
        )
    return round(clock() - started, 3)


def _flip(source: Path, target: Path) -> None:
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    target.chmod(0o644)


@contextmanager
def _containment(release: Release, limits: Limits) -> Iterator[Containment]:
    """How the container is held; a release with an audit log gets keys and a volume that end with the proof."""
    audit = release.contract.audit
    if audit is None:
        yield Containment(limits)
        return
    log = audit.low_water_bytes + 2 * audit.segment_bytes + SCRATCH
    scratch = {"/tmp": SCRATCH, audit.path: log}  # noqa: S108 - in the container
    more = Limits(limits.memory + 2 * audit.segment_bytes, limits.cpus)  # in memory here; in a pod it is a volume
    with tempfile.TemporaryDirectory(prefix="bedside-keys-") as work:
        covered = {}
        for name, data in _throw_away_keys(audit):
            path = Path(work, name)
            path.write_bytes(data)
            path.chmod(0o644)
            covered[f"{_KEYS}/{name}"] = path
        yield Containment(more, scratch=scratch, covered=covered)


def _throw_away_keys(audit: Audit) -> Iterator[tuple[str, bytes]]:
    if audit.payload == "hmac":
        yield "audit-hmac.key", secrets.token_hex(32).encode()
    if audit.payload == "encrypted":
        public = X25519PrivateKey.generate().public_key()
        yield "audit-recipient.pem", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if audit.signed:
        private = Ed25519PrivateKey.generate()
        yield "audit-signing.pem", private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
