import json
import subprocess
import sys
from pathlib import Path

import pytest
from logs import POD, Written, a_log

from bedside_runtime.audit.notes import read_checkpoint, read_note
from bedside_runtime.audit.reading import judge, kept, paths, trust
from bedside_runtime.audit.verify import EXIT_CODES, Verdict
from bedside_runtime.errors import AuditCheckpointInvalid, AuditKeyInvalid, IntegrityError


def put(directory: Path, log: Written, pod: str = POD) -> Path:
    folder = directory / pod
    folder.mkdir()
    for name, data in log.files.items():
        (folder / name).write_bytes(data)
    (folder / ".writer.lock").write_bytes(b"")
    return folder


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-m", "bedside_runtime", "audit-verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_segments_come_in_the_order_of_their_numbers_whatever_the_clock_said(tmp_path: Path) -> None:
    for name in ("20270101T000000Z-aa-00000000.jsonl", "20260101T000000Z-bb-00000001.jsonl", "note.txt", ".new-x-1"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name[:4] for path in paths(tmp_path)] == ["2027", "2026"]


def test_the_runtime_alone_verifies_a_log_and_exits_with_the_verdict(tmp_path: Path) -> None:
    folder = put(tmp_path, a_log(20, segments=2))
    done = run(folder)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "intact")
    path = paths(folder)[-1]
    path.write_bytes(path.read_bytes()[:-10])
    done = run(folder)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (EXIT_CODES[Verdict.TORN_TAIL], "torn-tail")


def test_exit_codes_are_distinct_and_none_is_another_error_s() -> None:
    assert len(set(EXIT_CODES.values())) == len(Verdict)
    assert set(EXIT_CODES.values()) & {1, 2, 3, 4, 70} == set()


def test_the_folder_s_name_is_the_pod_that_the_log_must_be_of(tmp_path: Path) -> None:
    folder = put(tmp_path, a_log(5), pod="another")
    assert judge(folder).verdict is Verdict.ALTERED
    assert judge(folder, pod=POD).verdict is Verdict.INTACT


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        judge(tmp_path / "none")


@pytest.mark.parametrize("key", ["", "icu+00000000+AAAA", "/"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    pytest.importorskip("cryptography", reason="signed checkpoints need the extra `audit`")
    with pytest.raises(AuditKeyInvalid):
        trust([key])


class TestKept:
    @pytest.fixture
    def log(self) -> Written:
        pytest.importorskip("cryptography", reason="signed checkpoints need the extra `audit`")
        from keys import signer

        return a_log(60, signer=signer())

    @pytest.fixture
    def stdout(self, tmp_path: Path, log: Written) -> Path:
        from keys import signer

        lines = [json.dumps({"event": "audit-checkpoint", "note": note}) for note in log.notes]
        other = a_log(60, signer=signer(), pod="other")
        lines += [json.dumps({"event": "audit-checkpoint", "note": note}) for note in other.notes]
        path = tmp_path / "stdout.log"
        path.write_text("\n".join(['{"event":"listening"}', *lines, "not json", "{half"]))
        return path

    def test_a_cut_log_is_told_from_a_torn_one_by_what_the_pod_wrote_to_stdout(
        self, tmp_path: Path, log: Written, stdout: Path
    ) -> None:
        from keys import signer

        folder = put(tmp_path, log)
        key = str(signer().key)
        assert run(folder, "--key", key, "--checkpoint", stdout).returncode == 0
        path = paths(folder)[-1]
        path.write_bytes(path.read_bytes()[:-3000])
        assert run(folder, "--key", key).returncode == EXIT_CODES[Verdict.TORN_TAIL]
        assert run(folder, "--key", key, "--checkpoint", stdout).returncode == EXIT_CODES[Verdict.TRUNCATED]

    def test_a_note_in_a_file_of_its_own_is_read_too(self, tmp_path: Path, log: Written) -> None:
        (tmp_path / "note").write_text(log.notes[-1])
        assert kept([tmp_path / "note"], None)[POD] == [read_checkpoint(read_note(log.notes[-1]).text)]

    def test_checkpoints_of_other_pods_alone_are_refused(self, tmp_path: Path, stdout: Path) -> None:
        (tmp_path / "a-third").mkdir()
        with pytest.raises(AuditCheckpointInvalid, match="of a-third was given, but of icu-7f9c-x1, other"):
            judge(tmp_path / "a-third", checkpoints=[stdout])

    @pytest.mark.parametrize("text", ["", "nothing\n", '{"event":"listening"}\n', "[1]\n{}\n"])
    def test_a_file_without_a_checkpoint_is_refused(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text(text)
        with pytest.raises(AuditCheckpointInvalid, match="holds no checkpoint"):
            kept([tmp_path / "file"], None)

    def test_what_a_container_runtime_kept_is_read_too(self, tmp_path: Path, log: Written) -> None:
        written = json.dumps({"event": "audit-checkpoint", "note": log.notes[-1]})
        (tmp_path / "cri").write_text(f"2026-11-25T22:06:41.123456789Z stdout F {written}\n")
        (tmp_path / "docker").write_text(json.dumps({"log": written + "\n", "stream": "stdout"}) + "\n")
        for name in ("cri", "docker"):
            assert kept([tmp_path / name], None)[POD] == [read_checkpoint(read_note(log.notes[-1]).text)]

    def test_a_checkpoint_that_nobody_trusted_signed_is_refused(self, stdout: Path) -> None:
        from keys import signer
        from keys import trust as trusting

        with pytest.raises(AuditCheckpointInvalid):
            kept([stdout], trusting(signer(9)))
