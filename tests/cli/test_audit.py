import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.audit.recorded import PATIENT, POD, Recorded, record, release

from bedside.cli.main import run
from bedside_runtime.audit.verify import EXIT_CODES, Verdict
from bedside_runtime.contract import Audit

BEDSIDE = (sys.executable, "-c", "from bedside.cli.main import main; main()")


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run(["audit", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def evidence(log: Recorded) -> tuple[str, ...]:
    return ("--key", log.verification_key, "--checkpoint", str(log.stdout))


def test_verify_says_the_verdict_in_one_word_and_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = record(tmp_path)
    code, out, err = said(capsys, "verify", log.root, *evidence(log))
    assert (code, out) == (0, "intact icu-0\n")
    assert "records in 2 segments" in err
    assert "signed up to record" in err
    assert "--key" not in err


def test_verify_says_what_it_could_not_look_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = said(capsys, "verify", record(tmp_path).root)
    assert "signatures were not looked at: give --key" in err
    assert "a cut at the end cannot be seen without --checkpoint" in err


def _altered(log: Recorded) -> None:
    log.files[0].write_bytes(log.files[0].read_bytes().replace(b"ward-4", b"ward-5"))


def _gap(log: Recorded) -> None:
    lines = log.files[0].read_bytes().splitlines(keepends=True)
    log.files[0].write_bytes(b"".join(lines[:5] + lines[6:]))


def _missing(log: Recorded) -> None:
    log.files[0].unlink()


def _torn(log: Recorded) -> None:
    log.files[1].write_bytes(log.files[1].read_bytes()[:-5])


def _truncated(log: Recorded) -> None:
    lines = log.files[1].read_bytes().splitlines(keepends=True)
    log.files[1].write_bytes(b"".join(lines[:-4]))


@pytest.mark.parametrize(
    ("harm", "verdict", "against_checkpoints"),
    [
        (_altered, Verdict.ALTERED, Verdict.ALTERED),
        (_gap, Verdict.GAP, Verdict.GAP),
        (_missing, Verdict.MISSING_SEGMENT, Verdict.MISSING_SEGMENT),
        (_torn, Verdict.TORN_TAIL, Verdict.TORN_TAIL),
        (_truncated, Verdict.INTACT, Verdict.TRUNCATED),
    ],
)
def test_every_verdict_has_its_exit_code_and_its_place(
    harm: object, verdict: Verdict, against_checkpoints: Verdict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = record(tmp_path)
    harm(log)  # type: ignore[operator]
    code, out, _ = said(capsys, "verify", log.folder, "--key", log.verification_key)
    assert (code, out) == (EXIT_CODES[verdict], f"{verdict} {POD}\n")
    code, out, err = said(capsys, "verify", log.folder, *evidence(log), "--json")
    (report,) = json.loads(out)
    assert (code, report["verdict"]) == (EXIT_CODES[against_checkpoints], str(against_checkpoints))
    assert f"record {report['place']['record']:,}" in err


def test_a_log_re_signed_with_another_key_is_a_bad_signature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, other = record(tmp_path / "one"), record(tmp_path / "two")
    code, out, _ = said(capsys, "verify", other.folder, "--key", log.verification_key)
    assert (code, out) == (EXIT_CODES[Verdict.BAD_SIGNATURE], f"bad-signature {POD}\n")


def test_checkpoints_come_from_standard_input_too(tmp_path: Path) -> None:
    log = record(tmp_path)
    command = [*BEDSIDE, "audit", "verify", str(log.folder), "--checkpoint", "-"]
    done = subprocess.run(command, input=log.stdout.read_bytes(), capture_output=True, check=False)
    assert (done.returncode, b"--checkpoint" in done.stderr) == (0, False)
    _truncated(log)
    done = subprocess.run(command, input=log.stdout.read_bytes(), capture_output=True, check=False)
    assert done.returncode == EXIT_CODES[Verdict.TRUNCATED]


def test_show_is_a_line_a_record_and_the_verdict_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "show", record(tmp_path, starts=1).root)
    lines = out.splitlines()
    assert code == 0
    assert [" ".join(line.split()[1:]) for line in lines] == [
        "KIND REQUEST CALLER ANSWER",
        "lifecycle start",
        "lifecycle ready",
        "prediction r-00 ward-3 0.125 low",
        "prediction r-01 ward-3 0.5 high [lactate missing]",
        "prediction r-02 - 0.125 low",
        "prediction r-03 ward-4 0.5 high [lactate missing]; 0.125 low",
        "prediction r-04 - 0.5 high [lactate missing]",
        "refusal r-05 ward-4 422 invalid-inputs",
        "refusal r-06 - 503 overloaded",
        "lifecycle drain",
        "end end of the segment (stop)",
    ]
    assert "icu-0: intact" in err


def test_show_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = record(tmp_path, starts=1)

    def requests(*options: object) -> list[str]:
        _, out, _ = said(capsys, "show", log.root, "--json", *options)
        return [json.loads(line)["request"] for line in out.splitlines()]

    assert requests("--caller", "ward-4") == ["r-03", "r-05"]
    assert requests("--band", "low") == ["r-00", "r-02", "r-03"]
    assert requests("--request", "r-06", "--request", "r-01") == ["r-01", "r-06"]
    assert requests("--kind", "refusal") == ["r-05", "r-06"]
    assert len(requests("--since", "1h", "--band", "low")) == 3
    assert requests("--until", "1h") == []
    assert requests("--since", "2020-01-01", "--until", "2020-01-02") == []


def test_show_finds_the_predictions_of_a_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = record(tmp_path, starts=1)
    (tmp_path / "patient.json").write_text(json.dumps({"inputs": PATIENT}))
    arguments = ("--inputs", tmp_path / "patient.json", "--hmac-key", log.keys / "audit-hmac.key")
    assert said(capsys, "show", log.root, *arguments)[0] == 2
    code, out, _ = said(capsys, "show", log.root, *arguments, "--release", release(tmp_path / "release"), "--json")
    assert code == 0
    assert [json.loads(line)["request"] for line in out.splitlines()] == ["r-00", "r-02", "r-03"]


def test_sealed_inputs_are_shown_to_the_holder_of_the_key_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = record(tmp_path, "encrypted", starts=1)
    assert "Emergency" not in said(capsys, "show", log.root)[1]
    arguments = ("show", log.root, "--request", "r-03", "--unseal", log.opening_key)
    assert said(capsys, *arguments)[1].count('"admission": "Emergency"') == 2
    (line,) = said(capsys, *arguments, "--json")[1].splitlines()
    assert json.loads(line)["opened"][1]["age"] == 63


@pytest.mark.parametrize("form", ["fhir", "parquet"])
def test_export_writes_a_file_or_says_why_not(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = record(tmp_path)
    target = tmp_path / "out"
    code, out, err = said(capsys, "export", log.root, "--form", form, "-o", target, "--json")
    assert (code, json.loads(out)["records"]) == (0, 22)
    assert target.stat().st_size > 1000
    assert said(capsys, "export", log.root, "--form", form, "-o", target)[0] == 2
    _altered(log)
    code, _, err = said(capsys, "export", log.root, "--form", form, "-o", tmp_path / "other")
    assert code == EXIT_CODES[Verdict.ALTERED]
    assert "nothing was written" in err
    assert not (tmp_path / "other").exists()


def test_an_audit_event_is_no_place_for_opened_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = record(tmp_path, "encrypted")
    arguments = ("export", log.root, "--form", "fhir", "-o", tmp_path / "out", "--unseal", log.opening_key)
    code, _, err = said(capsys, *arguments)
    assert code == 2
    assert "an AuditEvent holds no inputs" in err


def test_keygen_says_what_goes_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = release(tmp_path / "release", Audit(payload="hmac", signed=True))
    code, out, err = said(capsys, "keygen", made, "-o", tmp_path / "keys")
    assert (code, out) == (0, f"{tmp_path / 'keys'}\n")
    secret = f"kubectl create secret generic icu-test-audit-keys --from-file={tmp_path / 'keys' / 'pod'}"
    assert secret in err.replace("\n", "")
    key = (tmp_path / "keys" / "pod" / "audit-hmac.key").read_text().strip()
    assert key not in out + err


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    log = record(tmp_path)
    command = [*BEDSIDE, "audit", "show", str(log.root), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        said_last = child.stderr.read()
        assert child.wait() in (0, 1)
    assert b"defect" not in said_last
    assert b"BrokenPipe" not in said_last


@pytest.mark.parametrize("path", ["none", "empty"])
def test_where_there_is_no_log_that_is_said(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = said(capsys, "verify", tmp_path / path)
    assert code in (2, 3)
    assert "remedy" in err
