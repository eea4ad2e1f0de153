"""CUDA that nobody asked for, and CUDA that is missing, seen in the lock."""

import pytest

from bedside.errors import SpecInvalid
from bedside.locking import accelerators
from bedside.locking.lockfile import Locked


def locked(*names: str) -> tuple[Locked, ...]:
    return tuple(Locked(name, "1.0", ("0" * 64,)) for name in names)


def test_a_lock_without_cuda_is_for_cpus() -> None:
    accelerators.check(locked("numpy", "xgboost-cpu", "torch", "onnxruntime"), "cpu", "requirements.in")


@pytest.mark.parametrize(
    ("names", "way"),
    [
        (("xgboost", "nvidia-nccl-cu12"), "write xgboost-cpu instead of xgboost"),
        (("torch", "nvidia-cublas-cu12", "triton"), "index for CPUs"),
        (("onnxruntime-gpu",), "write onnxruntime instead"),
        (("cupy-cuda12x",), "choose the builds for CPUs"),
    ],
)
def test_a_release_for_cpus_that_would_carry_cuda_is_refused_with_the_way_out(names: tuple[str, ...], way: str) -> None:
    with pytest.raises(SpecInvalid, match="bring CUDA") as refused:
        accelerators.check(locked("numpy", *names), "cpu", "requirements.in")
    assert way in refused.value.remedy
    assert 'accelerator = "cuda"' in refused.value.remedy


def test_a_release_for_gpus_may_carry_cuda() -> None:
    accelerators.check(locked("numpy", "xgboost", "nvidia-nccl-cu12"), "cuda", "requirements.in")


def test_a_release_for_gpus_that_would_compute_on_cpus_is_refused() -> None:
    with pytest.raises(SpecInvalid, match="computes on a GPU"):
        accelerators.check(locked("numpy", "xgboost-cpu"), "cuda", "requirements.in")
