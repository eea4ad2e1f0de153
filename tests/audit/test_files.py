import json
from pathlib import Path

import pytest

from bedside.audit.files import finish, unfinished
from bedside.errors import UsageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with unfinished(tmp_path / "out") as beside:
        beside.write_text("all of it")
        assert not (tmp_path / "out").exists()
        finish(beside, tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with unfinished(tmp_path / "out") as beside:
            beside.write_text("half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("evidence")
    with pytest.raises(UsageError, match="is there already"), unfinished(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "evidence"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"), unfinished(tmp_path / "none" / "out") as beside:
        beside.write_text(json.dumps({}))
