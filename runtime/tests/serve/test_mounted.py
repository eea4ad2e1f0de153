"""Files that are replaced while somebody reads them, in every way in which that is done."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bedside_runtime.errors import AuthKeysInvalid
from bedside_runtime.serve.auth.mounted import Mounted


def _words(files: Sequence[bytes]) -> list[str]:
    if b"" in files:
        raise AuthKeysInvalid("empty")
    return [data.decode() for data in files]


def mount(folder: Path, version: str, **files: str) -> None:
    """Put ``files`` where a kubelet does: in a folder of their own, to which `..data` is turned in one step."""
    (folder / version).mkdir()
    for name, text in files.items():
        (folder / version / name).write_text(text)
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(Path("..data") / name)
    turned = folder / "..data_tmp"
    turned.symlink_to(version)
    turned.replace(folder / "..data")


def test_a_secret_that_the_kubelet_replaces_is_read_again(tmp_path: Path) -> None:
    mount(tmp_path, "..1", one="a", two="b")
    mounted = Mounted("words", [tmp_path / "one", tmp_path / "two"], _words)
    assert (mounted.value, mounted.stale, mounted.look()) == (["a", "b"], False, None)
    mount(tmp_path, "..2", one="c", two="d")
    assert (mounted.look(), mounted.value, mounted.look()) == ("replaced", ["c", "d"], None)


def _in_place(path: Path, text: str) -> None:
    path.write_text(text)


def _by_name(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def _same_size_and_time(path: Path, text: str) -> None:
    found = path.stat()
    path.write_text(text)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize("write", [_in_place, _by_name, _same_size_and_time])
def test_a_file_is_read_again_however_it_is_written(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    path = tmp_path / "one"
    path.write_text("a")
    mounted = Mounted("words", [path], _words)
    write(path, "b")
    assert (mounted.look(), mounted.value) == ("replaced", ["b"])


def test_a_broken_new_file_keeps_the_old_value_until_a_good_one_comes(tmp_path: Path) -> None:
    mount(tmp_path, "..1", one="a")
    mounted = Mounted("words", [tmp_path / "one"], _words)
    mount(tmp_path, "..2", one="")
    assert (mounted.look(), mounted.value, mounted.stale) == ("broken", ["a"], True)
    assert (mounted.look(), mounted.value, mounted.stale) == (None, ["a"], True)  # said once
    mount(tmp_path, "..3", one="b")
    assert (mounted.look(), mounted.value, mounted.stale) == ("replaced", ["b"], False)


def test_a_file_that_is_gone_keeps_the_old_value(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a")
    mounted = Mounted("words", [tmp_path / "one"], _words)
    (tmp_path / "one").unlink()
    assert (mounted.look(), mounted.value, mounted.stale) == ("broken", ["a"], True)


def test_files_that_are_replaced_while_they_are_read_wait_for_the_next_look(tmp_path: Path) -> None:
    mount(tmp_path, "..1", one="a", two="b")
    turns = iter([False, True, False])

    def torn(files: Sequence[bytes]) -> list[str]:
        if next(turns):
            mount(tmp_path, "..3", one="e", two="f")
        return _words(files)

    mounted = Mounted("words", [tmp_path / "one", tmp_path / "two"], torn)
    mount(tmp_path, "..2", one="c", two="d")
    assert (mounted.look(), mounted.value) == (None, ["a", "b"])
    assert (mounted.look(), mounted.value) == ("replaced", ["e", "f"])


@pytest.mark.parametrize(
    "make", [lambda path: None, Path.mkdir, os.mkfifo, lambda path: path.write_bytes(b"a" * 2**21)]
)
def test_what_cannot_be_read_at_the_start_stops_it(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "one")
    with pytest.raises(AuthKeysInvalid):
        Mounted("words", [tmp_path / "one"], _words)
