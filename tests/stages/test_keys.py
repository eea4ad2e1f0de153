"""`bedside keys`: a key is shown once, and its file admits it and whoever stood there before."""

from datetime import date
from pathlib import Path

import pytest

from bedside.cli.main import run
from bedside.errors import UsageError
from bedside.stages.keys import new_key
from bedside_runtime import apikeys
from bedside_runtime.errors import AuthKeysInvalid


def test_the_key_is_on_stdout_alone_and_the_line_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "ehr", "--until", "2027-06-30"]) == 0
    said = capfd.readouterr()
    key = said.out.strip()
    assert key not in said.err
    line = said.err.splitlines()[-1]
    (found,) = apikeys.parse(line.encode())
    assert apikeys.find([found], key.encode()) == found
    assert (found.name, found.last) == ("ehr", date(2027, 6, 30))


def test_the_file_keeps_who_stood_there_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "api-keys.txt"
    keys = []
    for name in ("ehr", "ward", "ehr"):
        assert run(["keys", name, "--file", str(file)]) == 0
        keys.append(capfd.readouterr().out.strip())
    admitted = apikeys.parse(file.read_bytes())
    assert [apikeys.find(admitted, key.encode()) for key in keys] == list(admitted)
    assert not any(key in file.read_text() for key in keys)
    assert list(tmp_path.iterdir()) == [file]


def test_comments_modes_and_a_missing_last_line_end_survive(tmp_path: Path) -> None:
    file = tmp_path / "api-keys.txt"
    file.write_text(f"# ours\n{apikeys.line('old', apikeys.make())}")
    file.chmod(0o640)
    made = new_key("ehr", file=file)
    assert made.names == ("old", "ehr")
    assert file.read_text().startswith("# ours\nold ")
    assert file.stat().st_mode & 0o777 == 0o640
    assert made.key not in repr(made)


def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not keys\n")
    with pytest.raises(AuthKeysInvalid, match=r"notes\.txt"):
        new_key("ehr", file=file)
    assert file.read_text() == "not keys\n"
    with pytest.raises(UsageError):
        new_key("ehr", file=tmp_path / "nowhere" / "api-keys.txt")
    with pytest.raises(AuthKeysInvalid):
        new_key("two words", file=tmp_path / "fresh")
    assert list(tmp_path.iterdir()) == [file]
