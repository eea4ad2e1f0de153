"""The author's modules: imported from memory, under their own names, in nobody's place."""

import importlib
import sys

import pytest

from bedside_runtime.adapters import code
from bedside_runtime.errors import ModelMismatch


def test_modules_are_imported_from_bytes_and_see_each_other() -> None:
    author = code.install(
        {
            "code/scaling.py": b"FACTOR = 3\n",
            "code/preparing.py": b"import scaling\ndef transform(rows):\n    return [scaling.FACTOR for _ in rows]\n",
        }
    )
    transform = author.transform()
    assert transform is not None
    assert transform([{}, {}]) == [3, 3]


def test_the_modules_of_another_release_are_forgotten() -> None:
    code.install({"code/preparing.py": b"VERSION = 1\n"}).transform()
    code.install({"code/preparing.py": b"VERSION = 2\n"}).transform()
    assert importlib.import_module("preparing").VERSION == 2
    code.install({})
    assert "preparing" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("preparing")


@pytest.mark.parametrize("name", ["json", "sys", "msgspec", "bedside_runtime", "_pickle"])
def test_a_module_that_shadows_an_installed_one_is_refused(name: str) -> None:
    with pytest.raises(ModelMismatch, match="installed here"):
        code.install({f"code/{name}.py": b""})


@pytest.mark.parametrize("path", ["code/two words.py", "code/module.txt", "code/__init__.py"])
def test_what_is_no_module_is_refused(path: str) -> None:
    with pytest.raises(ModelMismatch, match="cannot be imported as a module"):
        code.install({path: b""})


@pytest.mark.parametrize("source", [b"def (", b"import no_such_module\n", b"1 / 0\n", b"\xff\xfe"])
def test_a_module_that_does_not_import_is_named(source: bytes) -> None:
    with pytest.raises(ModelMismatch, match="module preparing cannot be imported"):
        code.install({"code/preparing.py": source}).transform()


def test_two_transforms_are_refused() -> None:
    source = b"def transform(rows):\n    return rows\n"
    with pytest.raises(ModelMismatch, match="two of the author's modules"):
        code.install({"code/first.py": source, "code/second.py": source}).transform()
