import json
from pathlib import Path

import pytest
from tests.audit.recorded import PATIENT, POD, Recorded, record, release

from bedside.audit.entries import Selection
from bedside.errors import UsageError
from bedside.stages.audit import Evidence, Judged, exit_code, show, size, verify
from bedside.stages.audit_export import export
from bedside.stages.audit_keys import keygen
from bedside_runtime.audit import opening
from bedside_runtime.audit.verify import EXIT_CODES, Verdict
from bedside_runtime.contract import Audit
from bedside_runtime.errors import AuditCheckpointInvalid


def evidence(log: Recorded) -> Evidence:
    return Evidence((log.verification_key,), (log.stdout,))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def verdicts(judged: tuple[Judged, ...]) -> dict[str, str]:
    return {item.pod: str(item.report.verdict) for item in judged}


def test_a_log_is_intact_against_its_key_and_its_checkpoints(tmp_path: Path) -> None:
    log = record(tmp_path)
    told: list[int] = []
    (judged,) = verify(log.folder, evidence(log), on_bytes=told.append)
    assert (judged.pod, judged.report.verdict, judged.whole) == (POD, Verdict.INTACT, True)
    assert judged.report.closed
    assert judged.report.signed_records == judged.report.records - 1  # all but the last checkpoint itself
    assert sum(told) == size(log.folder) == judged.report.bytes


def test_all_pods_of_a_volume_are_judged(tmp_path: Path) -> None:
    log = record(tmp_path)
    record(tmp_path, pod="icu-1")
    (tmp_path / "log" / "lost+found").mkdir()
    judged = verify(log.root, evidence(log))
    assert verdicts(judged) == {"icu-0": "intact", "icu-1": "intact"}
    assert exit_code(judged) == 0
    assert size(log.root) == sum(item.report.bytes for item in judged)


def test_a_pod_that_only_a_checkpoint_knows_has_lost_its_log(tmp_path: Path) -> None:
    log = record(tmp_path)
    record(tmp_path, pod="icu-1")
    for path in (log.root / "icu-1").iterdir():
        path.unlink()
    (log.root / "icu-1").rmdir()
    judged = verify(log.root, evidence(log))
    assert verdicts(judged) == {"icu-0": "intact", "icu-1": "truncated"}
    assert exit_code(judged) == EXIT_CODES[Verdict.TRUNCATED]
    assert verdicts(verify(log.root)) == {"icu-0": "intact"}


def test_an_emptied_folder_is_a_truncated_log(tmp_path: Path) -> None:
    log = record(tmp_path)
    for path in log.files:
        path.unlink()
    assert verdicts(verify(log.folder, evidence(log))) == {POD: "truncated"}
    with pytest.raises(UsageError, match="holds no audit log"):
        verify(log.folder)


def test_a_torn_tail_does_not_hide_a_grave_verdict(tmp_path: Path) -> None:
    log = record(tmp_path, crash=True)
    record(tmp_path, pod="icu-1")
    path = next((log.root / "icu-1").glob("*00000000.jsonl"))
    path.write_bytes(path.read_bytes().replace(b"ward-4", b"ward-5"))
    judged = verify(log.root)
    assert verdicts(judged) == {"icu-0": "torn-tail", "icu-1": "altered"}
    assert exit_code(judged) == EXIT_CODES[Verdict.ALTERED]
    assert exit_code(judged[:1]) == EXIT_CODES[Verdict.TORN_TAIL]


def test_checkpoints_of_other_pods_alone_are_no_evidence(tmp_path: Path) -> None:
    log = record(tmp_path / "one")
    other = record(tmp_path / "two", pod="icu-9")
    with pytest.raises(UsageError, match="no checkpoint of icu-0 was given, but of icu-9"):
        verify(log.folder, Evidence(checkpoints=(other.stdout,)))
    with pytest.raises(AuditCheckpointInvalid, match="not signed by a trusted key"):
        verify(log.folder, Evidence((log.verification_key,), (other.stdout,)))


def test_a_copy_of_one_pods_log_may_have_another_name_when_the_pod_is_said(tmp_path: Path) -> None:
    log = record(tmp_path)
    log.folder.rename(tmp_path / "copy")
    assert verdicts(verify(tmp_path / "copy")) == {"copy": "altered"}
    (judged,) = verify(tmp_path / "copy", Evidence((log.verification_key,), (log.stdout,), pod=POD))
    assert judged.report.verdict is Verdict.INTACT
    with pytest.raises(UsageError, match="no log of one pod"):
        verify(tmp_path, Evidence(pod=POD))


def test_a_log_whose_beginning_is_elsewhere_is_judged_from_where_it_begins(tmp_path: Path) -> None:
    log = record(tmp_path)
    log.files[0].unlink()
    assert verdicts(verify(log.folder)) == {POD: "missing-segment"}
    assert verdicts(verify(log.folder, Evidence(partial=True))) == {POD: "intact"}


def test_what_is_shown_of_an_altered_log_ends_at_its_fault(tmp_path: Path) -> None:
    log = record(tmp_path)
    data = log.files[0].read_bytes()
    log.files[0].write_bytes(data.replace(b'"request":"r-03"', b'"request":"r-93"'))
    found: list[str] = []
    (judged,) = show(log.folder, lambda entry: found.append(str(entry.line.body.get("request"))))
    assert judged.report.verdict is Verdict.ALTERED
    assert found == ["None", "None", "r-00", "r-01", "r-02"]


def test_an_export_of_a_log_that_is_not_whole_leaves_no_file(tmp_path: Path) -> None:
    log = record(tmp_path)
    data = log.files[1].read_bytes()
    log.files[1].write_bytes(data.replace(b'"request":"r-13"', b'"request":"r-93"'))
    for form in ("fhir", "parquet"):
        exported = export(log.folder, tmp_path / "out", form)  # type: ignore[arg-type]
        assert (exported.path, exit_code(exported.judged)) == (None, EXIT_CODES[Verdict.ALTERED])
    assert names(tmp_path) == ["keys", "log", "stdout"]
    exported = export(log.folder, tmp_path / "out", "fhir", until_fault=True)
    assert exported.path == tmp_path / "out"
    assert len((tmp_path / "out").read_text().splitlines()) == exported.entries == 16


def test_an_export_of_a_torn_log_holds_all_that_was_answered(tmp_path: Path) -> None:
    log = record(tmp_path, crash=True)
    exported = export(log.root, tmp_path / "out", "fhir")
    assert exported.path is not None
    assert exit_code(exported.judged) == EXIT_CODES[Verdict.TORN_TAIL]


def test_an_export_takes_what_is_wanted(tmp_path: Path) -> None:
    log = record(tmp_path)
    exported = export(log.root, tmp_path / "out", "fhir", selection=Selection(callers=frozenset({"ward-4"})))
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert len(lines) == exported.entries == 4
    assert {line["agent"][0]["who"]["identifier"]["value"] for line in lines} == {"ward-4"}


def test_keys_are_made_apart_for_pod_and_auditor_and_a_pod_takes_its_own(tmp_path: Path) -> None:
    made = keygen(release(tmp_path / "release", Audit(payload="encrypted", signed=True)), tmp_path / "keys")
    assert sorted(path.name for path in made.pod.iterdir()) == ["audit-recipient.pem", "audit-signing.pem"]
    assert sorted(path.name for path in made.auditor.iterdir()) == ["audit-opening.pem", "audit-verification.key"]
    assert {oct(path.stat().st_mode & 0o777) for path in made.pod.iterdir()} == {"0o600"}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert opening.Surroundings(made.pod, POD).keys == made.pod
    assert PATIENT


@pytest.mark.parametrize(("audit", "said"), [(None, "asks for no audit log"), (Audit(payload="none"), "needs no key")])
def test_where_no_key_is_needed_none_is_made(tmp_path: Path, audit: Audit | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        keygen(release(tmp_path / "release", audit), tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


def test_a_key_is_never_replaced_and_none_is_half_made(tmp_path: Path) -> None:
    made = release(tmp_path / "release", Audit())
    (tmp_path / "keys").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        keygen(made, tmp_path / "keys")
    with pytest.raises(UsageError, match="cannot be made"):
        keygen(made, tmp_path / "none" / "keys")
    assert names(tmp_path) == ["keys", "release"]
    assert names(tmp_path / "keys") == []
