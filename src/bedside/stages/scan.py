"""`bedside scan`: what an image or a release holds that must not go anywhere, and what is known against its packages.

The gate fails closed. What could not be looked at is never called clean: it raises `ScanIncomplete`, exit code 4.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bedside.errors import ScanIncomplete, SpecInvalid, ToolFailed, UsageError
from bedside.findings import Finding, Severity
from bedside.image import plan
from bedside.image.attached import InLayout
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Execution, Manifest
from bedside.locking import lockfile
from bedside.provenance import (
    acceptances,
    canary,
    contents,
    exposed,
    patients,
    rules,
    statements,
    trivy,
)
from bedside.provenance.acceptances import Accepted
from bedside.provenance.contents import Entry, File, Unopened
from bedside.provenance.inventory import Inventory, Package
from bedside.provenance.trivy import Audit, Level
from bedside.release.reading import Release, survey
from bedside.reports.report import Accepted as Reported
from bedside.reports.report import Report, RuleText
from bedside.stages import layers
from bedside.stages.check import check
from bedside.stages.dockerfile import drafted
from bedside.stages.evidence import leave_statement, subject_name
from bedside.stages.scanner import Scanner, nothing_skipped, working, young


@dataclass(frozen=True, slots=True)
class Demands:
    """What a scan is held to.

    Attributes:
        threshold: Severity from which on a vulnerability refuses.
        only_fixable: Whether vulnerabilities without a fix are noted only.
        db_max_age: How old the database may be.
        accepted: A list of accepted findings, and how it is called; see `provenance.acceptances`.
    """

    threshold: Level = "high"
    only_fixable: bool = False
    db_max_age: timedelta = timedelta(days=7)
    accepted: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan found.

    Attributes:
        digest: Of what was scanned, ``sha256:...``.
        report: Findings and what is accepted of them.
        audited: How many packages were looked at, by kind.
        database: When the vulnerability database was made.
        statement: The in-toto statement about an image; ``None`` for a release.
    """

    digest: str
    report: Report
    audited: Mapping[str, int]
    database: datetime
    statement: bytes | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing worse than a note stands."""
        return not self.report.at_least(Severity.OPERATIONS)


@dataclass
class _Look:
    """Takes every file that goes by, and keeps what is found in it."""

    found: list[Finding] = field(default_factory=list)
    files: int = 0
    histories: set[tuple[str, str]] = field(default_factory=set)

    def path(self, path: str, layer: str) -> None:
        directory = exposed.history(path)
        if directory is not None:
            self.histories.add((directory, layer))

    def file(self, file: File) -> None:
        self.files += 1
        self._judge(file)
        try:
            for inner in contents.inside(file):
                self._judge(inner)
        except Unopened as error:
            self.found.append(exposed.unopened(file, str(error)))

    def _judge(self, file: File) -> None:
        self.found += [*exposed.judge(file), *patients.judge(file)]

    def done(self) -> list[Finding]:
        return [*self.found, *(exposed.history_found(*one) for one in sorted(self.histories))]


def scan_image(
    layout: Layout,
    image: Descriptor,
    db: Path,
    scanner: Scanner,
    demands: Demands,
    *,
    dockerfile: Path | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Scanned:
    """Scan an image.

    Args:
        layout: Where it lies.
        image: Its manifest.
        db: Directory of trivy's database; see `provenance.database`.
        scanner: Effects.
        demands: What it is held to.
        dockerfile: What it was built from, where it was built by an engine; checked as `bedside check` does.
        on_step: Told what is being done.

    Raises:
        ScanIncomplete: Something could not be looked at: no database or an old one, a layer that cannot be read, a
            package that the scanner passed over, a scanner that fails, is blind or does not end.
    """
    # 1. The database is there, of the schema that is known, and young enough.
    # 2. Read every layer: files, and the packages that are there at the end. Each blob is compared with its digest.
    # 3. The scanner finds what is planted. One that does not is blind, and its silence says nothing.
    # 4. Scan. Every package that is there, and every one of the lock, was looked at.
    # 5. Take out what is accepted today. Whatever is left and worse than a note refuses.
    started = scanner.now()
    on_step("looking at the vulnerability database")  # 1
    made = young(db, started, demands.db_max_age)
    manifest = layout.manifest(image)
    on_step(f"reading {len(manifest.layers)} layers")  # 2
    look, lock = _Look(), list[bytes]()
    inventory = layers.survey(layout, manifest, _both(look.file, lock), look.path)
    with working(scanner, db) as trivy_here:
        on_step("showing the scanner what it must find")  # 3
        trivy_here.sees(inventory)
        on_step("scanning the image")  # 4
        audit = trivy_here.image(layout, image)
    nothing_skipped((*inventory.packages, *_locked(lock[-1] if lock else b"")), audit)
    checked = _checked(dockerfile, scanner)
    found = [*look.done(), *_of_image(layout.config(manifest).config, inventory, audit), *checked.findings]
    found += _known(audit, inventory.packages, demands)
    report = _report(found, checked.accepted, look.files, audit, demands, scanner.now())  # 5
    counted = {"operating system": len(inventory.of("deb", "apk")), "python": len(inventory.of("pypi"))}
    scanned = Scanned(str(image.digest), report, counted, made)
    return replace(scanned, statement=_statement(scanned, manifest, audit, demands, (started, scanner.now())))


def leave(layout: Layout, image: Descriptor, scanned: Scanned) -> None:
    """Put the statement of a scan beside its image, in place of an earlier one that nobody signed."""
    if scanned.statement is not None:
        leave_statement(InLayout(layout, image), scanned.statement)


def scan_release(
    release: Release,
    db: Path,
    scanner: Scanner,
    demands: Demands,
    *,
    on_step: Callable[[str], None] = lambda _: None,
) -> Scanned:
    """Scan a release before anything is built from it: its files, the distributions of its lock, its Dockerfile.

    Raises:
        ScanIncomplete: As `scan_image`.
    """
    on_step("looking at the vulnerability database")
    made = young(db, scanner.now(), demands.db_max_age)
    on_step("reading every file")
    look = _Look()
    for name in survey(release.directory):
        look.path(name, "release")
        look.file(_file(release.directory / name, name))
    locked = _locked(release.lock.read_bytes())
    with working(scanner, db) as trivy_here:
        on_step("showing the scanner what it must find")
        trivy_here.sees(Inventory(None, ()))
        on_step("scanning the lock")
        audit = trivy_here.bill(canary.bill_of([_component(item) for item in locked]))
        on_step("looking for secrets")
        secrets = trivy_here.directory(release.directory).exposed
    nothing_skipped(locked, audit)
    on_step("checking the Dockerfile that it gives")
    found = [*look.done(), *secrets, *_known(audit, locked, demands), *_of_dockerfile(release, scanner)]
    report = _report(found, (), look.files, audit, demands, scanner.now())
    return Scanned(f"sha256:{release.digest}", report, {"python": len(locked)}, made)


def _both(look: Callable[[File], None], lock: list[bytes]) -> Callable[[File], None]:
    """Look at every file, and keep the lock of the release."""

    def take(file: File) -> None:
        if f"/{file.path}" == f"{plan.RELEASE}/requirements.lock":
            lock.append(file.head)
        look(file)

    return take


# -- what is there


def _locked(data: bytes) -> tuple[Package, ...]:
    """Return the distributions that a lock names; a lock that is none names nothing that could be counted."""
    try:
        found = lockfile.parse(data.decode("utf-8"))
    except (lockfile.LockInvalid, UnicodeDecodeError) as error:
        raise ScanIncomplete(f"the lock cannot be read: {error}", remedy="Package the release again.") from None
    return tuple(Package("pypi", item.name, item.version, "requirements.lock") for item in found)


def _component(item: Package) -> dict[str, Any]:
    purl = f"pkg:pypi/{item.name}@{item.version}"
    return {"type": "library", "name": item.name, "version": item.version, "purl": purl, "bom-ref": item.name}


# -- what was found


def _of_image(execution: Execution, inventory: Inventory, audit: Audit) -> Iterator[Finding]:
    if inventory.system is None or not inventory.of("deb", "apk"):
        yield rules.finding("BED-SCN-020", "no list of packages of an operating system is in the image")
    if audit.unsupported is not None:
        yield rules.finding("BED-SCN-021", f"{audit.unsupported} gets no security fixes any more")
    for path in inventory.unread:
        yield rules.finding("BED-SCN-023", f"/{path} lists packages that were not audited", file=f"/{path}")
    for path in inventory.interpreters:
        yield rules.finding("BED-SCN-022", f"/{path} belongs to no package", file=f"/{path}")
    if execution.user.partition(":")[0] in ("", "0", "root"):
        yield rules.finding("BED-SCN-024", f"containers of the image run as {execution.user or 'root'}")
    yield from audit.exposed


def _known(audit: Audit, there: Iterable[Package], demands: Demands) -> Iterator[Finding]:
    yield from trivy.findings(audit, there, demands.threshold, only_fixable=demands.only_fixable)


def _of_dockerfile(release: Release, scanner: Scanner) -> list[Finding]:
    """Check the Dockerfile that `bedside dockerfile` prints for a release."""
    try:
        text = drafted(release)
    except (SpecInvalid, UsageError) as error:
        raise ScanIncomplete(f"the release has no Dockerfile to check: {error}", remedy=error.remedy) from None
    with tempfile.TemporaryDirectory(prefix="bedside-scan-") as work:
        path = Path(work, "Dockerfile")
        path.write_text(text, encoding="utf-8")
        return [replace(item, file=path.name) for item in _checked(path, scanner).findings]


def _checked(dockerfile: Path | None, scanner: Scanner) -> Report:
    """Check a Dockerfile as `bedside check` does, with hadolint and trivy, which must be there."""
    if dockerfile is None:
        return Report(())
    try:
        return check([str(dockerfile)], runner=scanner.runner, today=scanner.now().date(), strict=True)
    except (ToolFailed, UsageError) as error:
        raise ScanIncomplete(f"the Dockerfile was not checked: {error}", remedy=error.remedy) from None


def _file(path: Path, name: str) -> File:
    if path.is_symlink() or not path.is_file():
        raise ScanIncomplete(f"{name} is no regular file", remedy="Restore the release from where it was packaged.")

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                yield chunk

    return contents.read(Entry(name, "release", path.stat().st_size, chunks))


def _report(
    found: Iterable[Finding], inside: Sequence[Reported], read: int, audit: Audit, demands: Demands, now: datetime
) -> Report:
    """Take out what ``demands`` accept; what a Dockerfile accepts ``inside`` itself, with reason and end, is listed."""
    text, name = demands.accepted
    lines, problems = acceptances.read(text, name)
    kept, accepted = acceptances.apply(found, lines, name, now.astimezone(UTC).date())
    order = list(Severity)
    standing = sorted(
        {*kept, *problems}, key=lambda item: (order.index(item.severity), item.file, item.path, item.rule, item.message)
    )
    return Report(tuple(standing), (*inside, *map(_reported, accepted)), read, _texts(audit))


def _reported(item: Accepted) -> Reported:
    return Reported(item.finding, item.reason, item.until)


def _texts(audit: Audit) -> dict[str, RuleText]:
    """Return what reports say about rules: ours, and a line of each advisory."""
    own = {name: RuleText(rule.title, rule.severity, rule.reason, rule.remedy) for name, rule in rules.rules().items()}
    known = {
        item.id: RuleText(
            item.title or item.id, Severity.SECURITY, f"Advisory {item.id}.", "Take a version with a fix."
        )
        for item in audit.vulnerabilities
    }
    return {**known, **own}


def _statement(
    scanned: Scanned, manifest: Manifest, audit: Audit, demands: Demands, times: tuple[datetime, datetime]
) -> bytes:
    """Return the statement: cosign's vulnerability predicate, with what was found and how much was looked at."""
    result = {
        "verdict": "passed" if scanned.passed else "refused",
        "threshold": demands.threshold,
        "only_fixable": demands.only_fixable,
        "audited": dict(scanned.audited),
        "files": scanned.report.files,
        "findings": [_row(item) for item in scanned.report.findings],
        "accepted": [
            {**_row(one.finding), "until": one.until.isoformat(), "reason": one.reason}
            for one in scanned.report.accepted
        ],
    }
    predicate = {
        "invocation": {"parameters": [], "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": f"pkg:github/aquasecurity/trivy@{audit.version}",
            "version": audit.version,
            "db": {"uri": "pkg:github/aquasecurity/trivy-db", "version": scanned.database.isoformat()},
            "result": result,
        },
        "metadata": {"scanStartedOn": times[0].isoformat(), "scanFinishedOn": times[1].isoformat()},
    }
    return statements.encode(scanned.digest, subject_name(manifest.annotations), statements.SCAN, predicate)


def _row(item: Finding) -> dict[str, str]:
    return {
        "rule": item.rule,
        "severity": item.severity.value,
        "package": item.path,
        "file": item.file,
        "message": item.message,
    }
