"""The converters to ONNX: pinned, and beside a release's lock, never instead of it."""

from pathlib import Path

import pytest

from bedside.errors import GateRefused, SpecInvalid
from bedside.locking import converters
from bedside.locking.lockfile import Locked
from bedside.locking.uv import Uv
from bedside.process import Subprocess


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-gpu"])
def test_either_onnx_runtime_will_do(name: str) -> None:
    converters.require_runtime([Locked("numpy", "2.4.6", ()), Locked(name, "1.32.0", ())], "requirements.in")


def test_a_lock_without_onnx_runtime_is_refused_with_the_remedy() -> None:
    with pytest.raises(SpecInvalid, match=r"nothing that requirements\.in resolves to is ONNX Runtime") as refused:
        converters.require_runtime([Locked("onnx", "1.23.2", ())], "requirements.in")
    assert "Add onnxruntime to requirements.in" in refused.value.remedy


@pytest.mark.package
def test_a_lock_that_the_converters_do_not_fit_beside_is_refused_and_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("onnx==1.19.1\n")
    with pytest.raises(GateRefused, match=r"skl2onnx==.* do not fit beside the release's lock") as refused:
        converters.environment(Uv(Subprocess()), tmp_path, "3.11", lock, None)
    assert "native" in refused.value.remedy
    assert not (tmp_path / "converters").exists()
