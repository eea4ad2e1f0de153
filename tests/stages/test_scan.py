"""Scans with the real trivy, over a database of a few advisories."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.provenance import advisories
from tests.provenance.images import BASE, RELEASE, SITE, broken, debian, image, lock, python
from tests.provenance.keyring import ALICE, NOW, pem

from bedside.cli.main import run
from bedside.errors import ScanIncomplete, ToolFailed
from bedside.findings import Severity
from bedside.image import layout as layouts
from bedside.image.attached import InLayout
from bedside.image.layout import Layout
from bedside.process import Completed, Runner, Subprocess
from bedside.provenance import statements
from bedside.release.reading import open_release
from bedside.stages.scan import Demands, Scanned, leave, scan_image, scan_release
from bedside.stages.scanner import Scanner
from bedside_runtime.contract import Contract
from bedside_runtime.contract import encode as encoded

PATIENTS = b"MRN,Date of Birth,systolic\n1001,1950-01-02,120\n1002,1961-03-04,135\n1003,1972-05-06,128\n"
SECRET = b"aws_access_key_id = AKIAQ3EGRJ5KWT7XVN2M\n"
DEFAULT = Demands()
CLEAN = (
    python("good", "1.0"),
    {f"{RELEASE}/golden.jsonl": b'{"id": "a", "inputs": {"age": 40}}\n', **lock(("good", "1.0"))},
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return advisories.write(tmp_path_factory.mktemp("advisories") / "db", NOW)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "image")


def scanner(runner: Runner | None = None) -> Scanner:
    return Scanner(runner or Subprocess(), {}, lambda: NOW)


def scan(
    layout: Layout,
    db: Path,
    *content: Mapping[str, bytes],
    demands: Demands = DEFAULT,
    runner: Runner | None = None,
    dockerfile: Path | None = None,
    **options: Any,
) -> Scanned:
    found = image(layout, *content, **options)
    return scan_image(layout, found, db, scanner(runner), demands, dockerfile=dockerfile)


def said(scanned: Scanned) -> list[tuple[str, str]]:
    return [(item.rule, item.file) for item in scanned.report.findings]


def test_an_image_without_anything_to_find_passes_and_says_what_was_audited(layout: Layout, db: Path) -> None:
    scanned = scan(layout, db, *CLEAN)
    assert (scanned.passed, said(scanned)) == (True, [])
    assert scanned.audited == {"operating system": 1, "python": 1}
    assert scanned.report.files == 6


def test_planted_packages_are_found_in_python_and_in_debian_by_file(layout: Layout, db: Path) -> None:
    base = {**BASE, **debian("planted", "1.0-1", Source="planted-source"), **debian("unfixed", "1.0-1")}
    packages = {**python("planted", "1.0"), **python("unrated", "1.0"), **python("slight", "1.0")}
    scanned = scan(layout, db, packages, base=base)
    assert not scanned.passed
    assert {(item.rule, item.file, item.severity) for item in scanned.report.findings} == {
        ("CVE-2026-0001", f"/{SITE}/planted-1.0.dist-info/METADATA", Severity.SECURITY),
        ("CVE-2026-0002", f"/{SITE}/unrated-1.0.dist-info/METADATA", Severity.SECURITY),
        ("CVE-2026-0003", f"/{SITE}/slight-1.0.dist-info/METADATA", Severity.NOTE),
        ("CVE-2026-0011", "/var/lib/dpkg/status.d/planted", Severity.SECURITY),
        ("CVE-2026-0012", "/var/lib/dpkg/status.d/unfixed", Severity.SECURITY),
    }
    assert all(item.remedy for item in scanned.report.findings)


def test_the_threshold_decides_what_refuses_and_nothing_hides(layout: Layout, db: Path) -> None:
    content = {**python("slight", "1.0")}
    assert scan(layout, db, content).passed
    low = scan(layout, db, content, demands=Demands(threshold="low"))
    assert not low.passed
    unfixed = {**BASE, **debian("unfixed", "1.0-1")}
    fixable = scan(layout, db, base=unfixed, demands=Demands(only_fixable=True))
    assert (fixable.passed, said(fixable)) == (True, [("CVE-2026-0012", "/var/lib/dpkg/status.d/unfixed")])


def test_planted_secrets_and_patients_are_found_by_file_and_layer(layout: Layout, db: Path) -> None:
    scanned = scan(
        layout,
        db,
        {
            f"{SITE}/pkg/tests/settings.py": SECRET,
            f"{SITE}/pkg/README.md": SECRET,
            "usr/share/doc/example/vendor/key.txt": SECRET,
            "opt/bedside/release/model.pkl": b"\x80\x04" + bytes(range(256)) + pem(ALICE),
        },
        {f"{RELEASE}/train.csv": PATIENTS, f"{RELEASE}/.env": b"DEBUG=1\n"},
    )
    found = {(item.rule, item.file, item.message.rpartition("; ")[2]) for item in scanned.report.findings}
    assert {("BED-SCN-002", "/opt/bedside/release/model.pkl", "layer 2 of 3 (dependencies)"),
            ("BED-SCN-010", f"/{RELEASE}/train.csv", "layer 3 of 3 (code)"),
            ("BED-SCN-003", f"/{RELEASE}/.env", "layer 3 of 3 (code)")} <= found  # fmt: skip
    secrets = {file for rule, file, layer in found if rule == "BED-SCN-001" and layer == "layer 2 of 3 (dependencies)"}
    assert secrets == {
        f"/{SITE}/pkg/tests/settings.py",
        f"/{SITE}/pkg/README.md",
        "/usr/share/doc/example/vendor/key.txt",
    }
    values = ("AKIA", "1001", "1950", "PRIVATE KEY-----\n")
    assert not any(value in item.message for item in scanned.report.findings for value in values)


def test_what_a_later_layer_deletes_is_still_in_the_image(layout: Layout, db: Path) -> None:
    layer = {f"{RELEASE}/train.csv": PATIENTS, f"{RELEASE}/aws.txt": SECRET}
    scanned = scan(layout, db, layer, {f"{RELEASE}/x": b""})
    again = _deleting(layout, layer)
    second = scan_image(layout, again, db, scanner(), Demands())
    assert {rule for rule, _ in said(scanned)} == {rule for rule, _ in said(second)} == {"BED-SCN-001", "BED-SCN-010"}


def _deleting(layout: Layout, layer: Mapping[str, bytes]) -> Any:
    """An image whose last layer deletes the release, written with `tarfile`: our own writer refuses whiteouts."""
    import io
    import tarfile

    from bedside.image import layers as ours

    made = image(layout, layer, {"placeholder": b""})
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("opt/bedside/.wh.release"))
    descriptor, diff_id = ours.compress([raw.getvalue()], layout)
    manifest = layout.manifest(made)
    config = layout.config(manifest)
    from msgspec.structs import replace as changed

    rootfs = changed(config.rootfs, diff_ids=(*config.rootfs.diff_ids[:-1], diff_id))
    written = layout.write_document(changed(config, rootfs=rootfs))
    found = layout.write_document(changed(manifest, config=written, layers=(*manifest.layers[:-1], descriptor)))
    layout.add(found)
    return found


def test_a_package_that_a_later_layer_removes_is_not_there(layout: Layout, db: Path) -> None:
    made = _deleting(layout, {f"{RELEASE}/lib/planted-1.0.dist-info/METADATA": python("planted", "1.0").popitem()[1]})
    scanned = scan_image(layout, made, db, scanner(), Demands())
    assert (scanned.passed, scanned.audited["python"]) == (True, 0)


def test_the_config_of_the_image_is_looked_at_too(layout: Layout, db: Path) -> None:
    scanned = scan(layout, db, user="", env=("AWS_ACCESS_KEY_ID=AKIAQ3EGRJ5KWT7XVN2M",))
    assert {"BED-SCN-024", "BED-SCN-001"} <= {rule for rule, _ in said(scanned)}


def test_a_base_without_a_list_of_its_packages_is_said(layout: Layout, db: Path) -> None:
    base = {"usr/local/bin/python3.11": b"", "var/lib/rpm/rpmdb.sqlite": b""}
    assert {rule for rule, _ in said(scan(layout, db, base=base))} == {"BED-SCN-020", "BED-SCN-022", "BED-SCN-023"}


def test_a_dockerfile_is_checked_with_hadolint_trivy_and_our_own_rules(
    layout: Layout, db: Path, tmp_path: Path
) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM python:3.11\nRUN cd /tmp && sudo pip install numpy\n")
    rules = {rule for rule, _ in said(scan(layout, db, *CLEAN, dockerfile=dockerfile))}
    assert {"DL3004", "DS-0010", "BED-IMG-001"} <= rules


def test_nothing_beside_or_in_a_dockerfile_keeps_the_scan_quiet(
    layout: Layout, db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(
        "# hadolint global ignore=DL3004\nFROM python:3.11\n#trivy:ignore:DS-0010\nRUN cd /tmp && sudo true\n"
    )
    (tmp_path / ".hadolint.yaml").write_text("ignored: [DL3003, DL3004]\n")
    (tmp_path / "trivy.yaml").write_text("severity: [CRITICAL]\n")
    (tmp_path / ".trivyignore").write_text("DS-0001\nDS-0013\n")
    monkeypatch.chdir(tmp_path)
    scanned = scan(layout, db, *CLEAN, dockerfile=dockerfile)
    assert {"DL3003", "DL3004", "DS-0013", "BED-INP-012"} <= {rule for rule, _ in said(scanned)}


def test_what_a_dockerfile_accepts_with_reason_and_end_is_listed(layout: Layout, db: Path, tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("# bedside: ignore BED-IMG-001 until 2999-01-01: the base is built here\nFROM python:3.11\n")
    scanned = scan(layout, db, *CLEAN, dockerfile=dockerfile)
    assert "BED-IMG-001" not in {rule for rule, _ in said(scanned)}
    assert [(one.finding.rule, one.reason) for one in scanned.report.accepted] == [
        ("BED-IMG-001", "the base is built here")
    ]


# -- fails closed


def test_without_a_database_nothing_passes(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(ScanIncomplete, match="no vulnerability database") as refused:
        scan(layout, tmp_path / "nothing", *CLEAN)
    assert "--db" in refused.value.remedy


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"made": NOW - timedelta(days=8)}, "8 days old"),
        ({"made": NOW + timedelta(days=2)}, "in the future"),
        ({"made": NOW, "schema": 1}, "schema 1"),
        ({"made": NOW, "without": advisories.DEBIAN}, "nothing about debian 12"),
        ({"made": NOW, "without": advisories.PIP}, "nothing about Python"),
    ],
)
def test_a_database_that_cannot_know_is_refused(
    layout: Layout, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScanIncomplete, match=said):
        scan(layout, advisories.write(tmp_path / "db", **options), *CLEAN)


def test_an_older_database_is_taken_where_somebody_decided_so(layout: Layout, tmp_path: Path) -> None:
    old = advisories.write(tmp_path / "db", NOW - timedelta(days=8))
    assert scan(layout, old, *CLEAN, demands=Demands(db_max_age=timedelta(days=8))).passed


def test_a_broken_database_is_refused_and_left_alone(layout: Layout, tmp_path: Path) -> None:
    db = advisories.write(tmp_path / "db", NOW)
    (db / "trivy.db").write_bytes(b"nothing")
    with pytest.raises(ScanIncomplete, match="trivy exited"):
        scan(layout, db, *CLEAN)
    assert (db / "trivy.db").read_bytes() == b"nothing"


def test_a_layer_that_is_not_what_its_digest_says_is_never_passed(layout: Layout, db: Path) -> None:
    made = image(layout, *CLEAN)
    broken(layout, made, 1)
    with pytest.raises(ScanIncomplete, match=r"layer 2 of 3 \(dependencies\) cannot be read"):
        scan_image(layout, made, db, scanner(), Demands())


def test_a_distribution_that_the_lock_names_and_the_image_lacks_was_not_audited(layout: Layout, db: Path) -> None:
    with pytest.raises(ScanIncomplete, match=r"passed over 1 packages: other 2\.0"):
        scan(layout, db, python("good", "1.0"), lock(("good", "1.0"), ("other", "2.0")))


def test_a_version_that_the_scanner_cannot_compare_was_not_audited(layout: Layout, db: Path) -> None:
    with pytest.raises(ScanIncomplete, match="planted not-a-version"):
        scan(layout, db, python("planted", "not-a-version"))


class Instead:
    """Runs trivy, and changes how it ends."""

    def __init__(self, after: Callable[[list[str], Completed], Completed]) -> None:
        self._after, self._real = after, Subprocess()

    def run(self, command: Sequence[str], **options: Any) -> Completed:
        return self._after(list(command), self._real.run(command, **options))


def _reported(change: Callable[[dict[str, Any]], object]) -> Callable[[list[str], Completed], Completed]:
    def after(command: list[str], done: Completed) -> Completed:
        path = Path(command[command.index("--output") + 1])
        report = json.loads(path.read_text())
        if command[1] == "image":
            change(report)
        path.write_text(json.dumps(report))
        return done

    return after


def _crashes(command: list[str], done: Completed) -> Completed:
    return replace(done, returncode=2, stderr="panic: runtime error\n")


def _hangs(command: list[str], done: Completed) -> Completed:
    raise ToolFailed("trivy did not finish within 1800 seconds")


def _writes_nothing(command: list[str], done: Completed) -> Completed:
    Path(command[command.index("--output") + 1]).unlink()
    return done


def _drop_packages(report: dict[str, Any]) -> None:
    for result in report["Results"]:
        result["Packages"] = []


BAD: dict[str, tuple[Callable[[list[str], Completed], Completed], str]] = {
    "crashes": (_crashes, "exited with 2: panic"),
    "hangs": (_hangs, "did not finish"),
    "writes nothing": (_writes_nothing, "no report"),
    "passes over packages": (_reported(_drop_packages), "passed over 3 packages"),
    "passes over everything": (_reported(lambda report: report.pop("Results")), "passed over 3 packages"),
    "writes another schema": (_reported(lambda report: report.update(SchemaVersion=3)), "no report"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_scanner_that_does_not_do_its_work_is_a_failure(layout: Layout, db: Path, case: str) -> None:
    after, said = BAD[case]
    with pytest.raises(ScanIncomplete, match=said) as refused:
        scan(layout, db, *CLEAN, runner=Instead(after))
    assert refused.value.exit_code == 4
    assert refused.value.remedy


# -- accepting


def accepting(text: str) -> Demands:
    return Demands(accepted=(text, "accepted.txt"))


UNTIL = date(2027, 3, 31).isoformat()


def test_what_is_accepted_with_place_reason_and_end_no_longer_refuses(layout: Layout, db: Path) -> None:
    text = (
        f"# a comment\n\nignore CVE-2026-0001 in planted until {UNTIL}: not reachable\n"
        f"ignore BED-SCN-010 in /{RELEASE}/train.csv until {UNTIL}: synthetic\n"
    )
    scanned = scan(layout, db, python("planted", "1.0"), {f"{RELEASE}/train.csv": PATIENTS}, demands=accepting(text))
    assert (scanned.passed, said(scanned)) == (True, [])
    assert [(one.finding.rule, one.reason) for one in scanned.report.accepted] == [
        ("CVE-2026-0001", "not reachable"),
        ("BED-SCN-010", "synthetic"),
    ] or len(scanned.report.accepted) == 2


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("ignore CVE-2026-0001 until 2026-11-19: not reachable", {"CVE-2026-0001", "BED-SCN-031"}),
        (f"ignore CVE-2026-0001 in other until {UNTIL}: not reachable", {"CVE-2026-0001", "BED-SCN-032"}),
        (f"ignore CVE-2026-9999 until {UNTIL}: not reachable", {"CVE-2026-0001", "BED-SCN-032"}),
        (f"ignore CVE-2026-0001 until {UNTIL}:", {"CVE-2026-0001", "BED-SCN-033"}),
        ("ignore CVE-2026-0001: not reachable", {"CVE-2026-0001", "BED-SCN-033"}),
        ("CVE-2026-0001", {"CVE-2026-0001", "BED-SCN-033"}),
        (f"ignore BED-SCN-010 until {UNTIL}: everywhere", {"CVE-2026-0001", "BED-SCN-033"}),
        (f"ignore BED-SCN-999 in /x until {UNTIL}: no such finding", {"CVE-2026-0001", "BED-SCN-033"}),
    ],
)
def test_an_acceptance_that_ended_says_too_little_or_is_about_nothing_is_said(
    layout: Layout, db: Path, line: str, rules: set[str]
) -> None:
    scanned = scan(layout, db, python("planted", "1.0"), demands=accepting(line))
    assert {rule for rule, _ in said(scanned)} == rules
    assert not scanned.passed


# -- the statement, and as a person types it


def test_the_statement_is_bound_to_the_digest_and_says_what_was_looked_at(layout: Layout, db: Path) -> None:
    scanned = scan(layout, db, python("planted", "1.0"))
    statement = statements.decode(scanned.statement or b"")
    assert statement.predicate_type == "https://cosign.sigstore.dev/attestation/vuln/v1"
    assert statement.about(scanned.digest)
    result = statement.predicate["scanner"]["result"]
    assert (result["verdict"], result["audited"]) == ("refused", {"operating system": 1, "python": 1})
    assert [row["rule"] for row in result["findings"]] == ["CVE-2026-0001"]
    assert statement.predicate["metadata"]["scanFinishedOn"] == NOW.isoformat()


def test_a_new_scan_takes_the_place_of_the_one_before(layout: Layout, db: Path) -> None:
    made = image(layout, *CLEAN)
    later = replace(scanner(), now=lambda: NOW + timedelta(hours=1))
    for one in (scanner(), later):
        leave(layout, made, scan_image(layout, made, db, one, Demands()))
    (beside,) = InLayout(layout, made).beside()
    statement = statements.decode(InLayout(layout, made).read(beside.manifest.layers[0]))
    assert statement.predicate["metadata"]["scanFinishedOn"] == (NOW + timedelta(hours=1)).isoformat()


@pytest.fixture
def today(tmp_path: Path) -> Path:
    """A database of today, for the command, which has the clock of this machine."""
    from datetime import UTC, datetime

    return advisories.write(tmp_path / "today" / "db", datetime.now(UTC))


def test_the_command_passes_refuses_and_fails_with_its_own_exit_codes(
    layout: Layout, today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = image(layout, *CLEAN)
    assert run(["scan", str(layout.directory), "--db", str(today.parent)]) == 0
    assert "0 patient-safety, 0 security" in capsys.readouterr().out
    assert len(tuple(InLayout(layout, made).beside())) == 1
    other = layouts.create(tmp_path / "other")
    image(other, python("planted", "1.0"))
    written = tmp_path / "scan.json"
    assert run(["scan", str(other.directory), "--db", str(today), "--json", "--statement", str(written)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["audited"]["python"]) == ("refused", 1)
    assert statements.decode(written.read_bytes()).about(report["digest"])
    assert run(["scan", str(other.directory), "--db", str(today), "--sarif"]) == 1
    log = json.loads(capsys.readouterr().out)
    assert [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]] == ["CVE-2026-0001"]
    assert run(["scan", str(other.directory), "--db", str(tmp_path / "nothing")]) == 4


def test_a_user_s_own_settings_of_trivy_hide_nothing(
    layout: Layout, today: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(layout, python("planted", "1.0"))
    (tmp_path / ".trivyignore").write_text("CVE-2026-0001\n")
    (tmp_path / "trivy.yaml").write_text("scan:\n  skip-dirs: ['/opt']\n")
    monkeypatch.chdir(tmp_path)
    for name, value in {"TRIVY_SKIP_DIRS": "/opt", "TRIVY_SEVERITY": "LOW", "TRIVY_IGNOREFILE": ".trivyignore"}.items():
        monkeypatch.setenv(name, value)
    assert run(["scan", str(layout.directory), "--db", str(today)]) == 1


# -- a release, before anything is built from it


@pytest.fixture
def release(tmp_path: Path, a_contract: Contract) -> Path:
    directory = tmp_path / "icu-1.0.0"
    directory.mkdir()
    (directory / "contract.json").write_bytes(encoded(a_contract))
    (directory / "requirements.lock").write_bytes(lock(("good", "1.0")).popitem()[1])
    return directory


def scanned_release(release: Path, db: Path) -> Scanned:
    return scan_release(open_release(release), db, scanner(), Demands())


def test_a_release_without_anything_to_find_passes(release: Path, db: Path) -> None:
    scanned = scanned_release(release, db)
    assert (scanned.passed, scanned.audited, scanned.statement) == (True, {"python": 1}, None)
    assert scanned.digest == f"sha256:{open_release(release).digest}"


def test_in_a_release_files_and_locked_packages_are_found(release: Path, db: Path) -> None:
    (release / "requirements.lock").write_bytes(lock(("planted", "1.0")).popitem()[1])
    (release / "train.csv").write_bytes(PATIENTS)
    (release / "settings.py").write_bytes(SECRET)
    assert {(rule, file.lstrip("/")) for rule, file in said(scanned_release(release, db))} == {
        ("BED-SCN-001", "settings.py"),
        ("BED-SCN-010", "train.csv"),
        ("CVE-2026-0001", "requirements.lock"),
    }


@dataclass
class Hadolint(Subprocess):
    """The real tools, but for hadolint: it is not there, or answers what it is given."""

    answer: list[dict[str, Any]] | None

    def run(self, command: Sequence[str], **options: Any) -> Completed:
        if command[0] != "hadolint":
            return super().run(command, **options)
        if self.answer is None:
            raise ToolFailed("hadolint is not installed")
        text = Path(command[-1]).read_text()
        assert "\nUSER 10001:10001\n" in text
        return Completed(tuple(command), 0, json.dumps([{"file": command[-1], **one} for one in self.answer]), "")


def test_the_dockerfile_that_a_release_gives_is_checked_too(release: Path, db: Path) -> None:
    runner = Hadolint([{"code": "DL4006", "line": 3, "level": "warning", "message": "set -o pipefail"}])
    scanned = scan_release(open_release(release), db, scanner(runner), Demands())
    assert said(scanned) == [("DL4006", "Dockerfile")]


def test_a_release_whose_dockerfile_nobody_checks_does_not_pass(release: Path, db: Path) -> None:
    with pytest.raises(ScanIncomplete, match="the Dockerfile was not checked: hadolint is not installed"):
        scan_release(open_release(release), db, scanner(Hadolint(None)), Demands())


def test_a_release_that_no_image_can_be_made_of_does_not_pass(release: Path, db: Path, a_contract: Contract) -> None:
    environment = msgspec.structs.replace(a_contract.environment, machine="riscv64")
    (release / "contract.json").write_bytes(encoded(msgspec.structs.replace(a_contract, environment=environment)))
    with pytest.raises(ScanIncomplete, match="no Dockerfile to check: the release was packaged on riscv64"):
        scanned_release(release, db)


def test_a_link_in_a_release_is_not_followed(release: Path, db: Path) -> None:
    (release / "link").symlink_to("/etc/passwd")
    with pytest.raises(ScanIncomplete, match="link is no regular file"):
        scanned_release(release, db)


def test_a_release_is_scanned_by_its_directory(release: Path, today: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", str(release), "--db", str(today)]) == 0
    assert "1 python packages" in capsys.readouterr().err
    assert run(["scan", str(release), "--db", str(today), "--statement", str(release / "x")]) == 2
