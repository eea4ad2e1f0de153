"""Images for CPUs and for GPUs: what is refused before a layer is written, and with which way out."""

import hashlib
import json
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from bedside import wiring
from bedside.cli.main import run
from bedside.errors import SpecInvalid, UsageError
from bedside.image import layout as layouts
from bedside.image.plan import Installed
from bedside.locking import lockfile
from bedside.release.reading import open_release
from bedside.stages.assemble import find_base, planned_image
from bedside_runtime import canonical

pytestmark = [pytest.mark.package, pytest.mark.timeout(900)]  # the first one makes a base and a release


def resolved(release: Path, place: Path, accelerator: str, *distributions: str) -> Path:
    """Copy a release as if its requirements had resolved to more, for another accelerator."""
    other = place / release.name
    shutil.copytree(release, other)
    lock = other / "requirements.lock"
    lock.write_text(lock.read_text() + "".join(f"{name} --hash=sha256:{'0' * 64}\n" for name in distributions))
    contract = json.loads((other / "contract.json").read_bytes())
    contract["accelerator"] = accelerator
    contract["environment"]["distributions"].update(name.split("==") for name in distributions)
    for file in contract["files"]:
        if file["path"] == lock.name:
            file.update(size=lock.stat().st_size, sha256=hashlib.sha256(lock.read_bytes()).hexdigest())
    (other / "contract.json").write_bytes(canonical.encode(contract))
    return other


def with_cuda(base: Path, target: Path) -> Path:
    """Copy the tar of a base and add the CUDA runtime to it."""
    shutil.copyfile(base, target)
    with tarfile.open(target, "a") as tar:
        header = tarfile.TarInfo("usr/local/cuda/lib64/libcudart.so.12")
        header.size = 4
        tar.addfile(header, BytesIO(b"\x7fELF"))
    return target


def test_a_release_for_cpus_whose_lock_brings_cuda_gives_no_image_and_the_build_for_cpus_is_named(
    icu_release: Path, distroless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = resolved(icu_release, tmp_path, "cpu", "xgboost==3.2.0", "nvidia-nccl-cu12==2.28.9")
    target = tmp_path / "x.oci"
    words = ["build", str(release), "--base", str(distroless), "--engine", "assembled", "-o", str(target)]
    assert run([*words, "--prove-with", "runc"]) == 2
    said = capsys.readouterr().err
    assert "2 distribution(s) that bring CUDA: nvidia-nccl-cu12, xgboost" in said
    assert "xgboost-cpu" in said
    assert layouts.open_layout(target).index().manifests == ()


def test_a_release_for_gpus_without_cuda_is_refused(icu_release: Path, distroless: Path, tmp_path: Path) -> None:
    release = open_release(resolved(icu_release, tmp_path, "cuda"))
    found = find_base(release, str(distroless), wiring.builder())
    with pytest.raises(SpecInvalid, match="computes on a GPU"):
        planned_image(release, found.base)


def test_a_second_cuda_from_the_base_is_refused(icu_release: Path, distroless: Path, tmp_path: Path) -> None:
    release = open_release(resolved(icu_release, tmp_path, "cuda", "xgboost==3.2.0"))
    base = with_cuda(distroless, tmp_path / "cuda.tar")
    with pytest.raises(UsageError, match=r"carries CUDA: usr/local/cuda/lib64/libcudart\.so\.12") as refused:
        find_base(release, str(base), wiring.builder())
    assert "wheels bring the CUDA" in refused.value.remedy


def test_an_image_for_gpus_takes_the_cuda_of_its_wheels_and_the_python_that_was_validated(
    icu_release: Path, distroless: Path, tmp_path: Path
) -> None:
    release = open_release(resolved(icu_release, tmp_path, "cuda", "xgboost==3.2.0", "nvidia-nccl-cu12==2.28.9"))
    planned = planned_image(release, find_base(release, str(distroless), wiring.builder()).base)
    (dependencies,) = [layer for layer in planned.layers if layer.name == "dependencies"]
    assert isinstance(dependencies, Installed)
    assert {"xgboost", "nvidia-nccl-cu12"} <= {item.name for item in lockfile.parse(dependencies.lock)}
    assert planned.base.interpreter.endswith("python3.11")
