"""What an image shows before it has a name, in a real container; and what happens to one that does not show it."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from tests.built import Image, Registry

import bedside_runtime
from bedside import wiring
from bedside.errors import ToolFailed, VerificationFailed
from bedside.image import layers, oci
from bedside.image.attached import InLayout
from bedside.image.containment import Limits
from bedside.image.layers import Entries, File
from bedside.image.layout import Layout, open_layout
from bedside.image.oci import Descriptor, Manifest
from bedside.image.plan import HOME
from bedside.provenance import statements
from bedside.stages import proof, record
from bedside.stages.inspected import inspected

COMMAND = (  # a suite that runs in the background of a shell ignores SIGINT, and hands that down
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from bedside.cli.main import main; main()"
)
SITE = f"{HOME}/lib/python3.11/site-packages".lstrip("/")


@pytest.fixture
def images(icu_image: Image, tmp_path: Path) -> Layout:
    """A layout of its own with the ICU image in it; blobs are links."""
    target = tmp_path / "images"
    shutil.copytree(icu_image.layout, target, copy_function=os.link)
    (target / "index.json").unlink()
    shutil.copyfile(icu_image.layout / "index.json", target / "index.json")
    return open_layout(target)


def changed(images: Layout, image: Image, entries: Entries) -> Descriptor:
    """Write the image with one more layer, without a name."""
    manifest = images.manifest(images.find(image.name))
    config, layer = images.config(manifest), layers.write(entries, images)
    rootfs = oci.RootFS(diff_ids=(*config.rootfs.diff_ids, layer.diff_id))
    written = images.write_document(
        Manifest(
            media_type=oci.MANIFEST,
            config=images.write_document(msgspec.structs.replace(config, rootfs=rootfs, history=())),
            layers=(*manifest.layers, layer.descriptor),
        )
    )
    images.add(written)
    return written


def proven(images: Layout, descriptor: Descriptor, limits: Limits | None = None, host: str = "podman") -> proof.Proof:
    chosen = wiring.host(host)
    with inspected(images, descriptor) as image, chosen.holding(images, descriptor) as held:
        return proof.prove(image, held, chosen.name, limits or Limits(512 << 20, 1.0))


def test_the_record_says_what_was_proven_where_and_within_which_limits(icu_image: Image) -> None:
    place = InLayout(open_layout(icu_image.layout), open_layout(icu_image.layout).find(icu_image.name))
    (beside,) = (
        one
        for one in place.beside()
        if one.manifest.annotations.get(statements.PREDICATE_ANNOTATION) == record.PREDICATE
    )
    statement = statements.decode(place.read(beside.manifest.layers[0]))
    assert statement.about(icu_image.digest)
    assert statement.predicate["result"] == "PASSED"
    assert statement.predicate["passedTests"] == list(proof.CHECKS)
    measured = record.read(place)
    assert measured is not None
    assert measured["golden"]["cases"] == 65
    assert measured["confinement"] | {"memory_peak": 0} == {
        "user": 10001,
        "group": 10001,
        "capabilities": 0,
        "no_new_privileges": True,
        "root_read_only": True,
        "interfaces": [],
        "memory_limit": measured["limits"]["memoryBytes"],
        "cpu_limit": 1.0,
        "memory_peak": 0,
        "writable": [],
    }
    assert 10 << 20 < measured["memoryPeakBytes"] <= measured["limits"]["memoryBytes"]
    assert measured["environment"]["distributions"]["scikit-learn"]
    assert measured["seconds"].keys() == {"start", "replay", "stop", "refusal"}


def test_a_proven_image_has_its_name_in_the_layout_and_where_it_was_proven(icu_image: Image) -> None:
    assert open_layout(icu_image.layout).find("icu-mortality:1.0.0").digest == icu_image.digest
    manifest = open_layout(icu_image.layout).manifest(open_layout(icu_image.layout).find(icu_image.name))
    assert icu_image.called == manifest.config.digest.hex


def test_nothing_of_a_proof_stays_running(icu_image: Image, podman: str) -> None:
    done = subprocess.run([podman, "ps", "--all", "--format={{.Names}}"], check=True, capture_output=True, text=True)
    assert "bedside-proof" not in done.stdout


def test_runc_alone_proves_the_same_image(images: Layout, icu_image: Image) -> None:
    seen = proven(images, images.find(icu_image.name), host="runc")
    assert seen.cases == 65
    assert seen.seen["confinement"]["capabilities"] == 0
    assert seen.seen["confinement"]["memory_limit"] == 512 << 20


def tampered(module: str, old: str, new: str) -> Entries:
    """Bytecode of a module of the runtime with one change: its source, which anybody would read, stays as it was."""
    source = (Path(bedside_runtime.__file__).parent / f"{module}.py").read_text()
    assert old in source
    code = compile(source.replace(old, new), f"{module}.py", "exec")
    folder, _, name = f"bedside_runtime/{module}".rpartition("/")
    data = importlib._bootstrap_external._code_to_hash_pyc(code, b"8 bytes.", False)  # type: ignore[attr-defined]
    return {f"{SITE}/{folder}/__pycache__/{name}.cpython-311.pyc": File(bytes(data))}


def test_answers_that_differ_over_http_alone_are_found(images: Layout, icu_image: Image) -> None:
    drift = "[msgspec.structs.replace(one, value=one.value + 1e-6) for one in predictions]"
    entries = tampered("serve/plain", "request_id, release, predictions)", f"request_id, release, {drift})")
    with pytest.raises(VerificationFailed, match="golden cases are answered otherwise"):
        proven(images, changed(images, icu_image, entries))


def test_a_server_that_serves_a_changed_model_is_found(images: Layout, icu_image: Image) -> None:
    entries = tampered("loading", "hashlib.sha256(data).hexdigest() != item.sha256", "False")
    with pytest.raises(VerificationFailed, match="does not say that its release was changed"):
        proven(images, changed(images, icu_image, entries))


def test_a_server_that_does_not_exit_0_on_sigterm_is_found(images: Layout, icu_image: Image) -> None:
    entries = tampered("serve/server", "os._exit(exit_code)", "os._exit(7)")
    with pytest.raises(VerificationFailed, match="ends with exit code 7"):
        proven(images, changed(images, icu_image, entries))


def test_a_container_that_is_killed_at_its_memory_limit_is_told_so(images: Layout, icu_image: Image) -> None:
    with pytest.raises(ToolFailed, match="exit code") as refused:
        proven(images, images.find(icu_image.name), Limits(24 << 20, 1.0))
    assert "memory" in refused.value.remedy


def test_an_image_that_is_not_proven_has_no_name_anywhere(images: Layout, icu_image: Image, podman: str) -> None:
    entries = tampered("serve/server", "os._exit(exit_code)", "os._exit(7)")
    other = changed(images, icu_image, entries)
    with pytest.raises(VerificationFailed):
        proven(images, other)
    names = {item.digest: item.annotations.get(oci.REF_NAME) for item in images.index().manifests}
    assert names[other.digest] is None
    assert wiring.engines()[podman].find(images.manifest(other).config.digest.hex) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_middle_nothing_is_named_and_nothing_runs_on(
    icu_image: Image, distroless: Path, podman: str, tmp_path: Path, number: signal.Signals
) -> None:
    target, scratch = tmp_path / "interrupted.oci", tmp_path / "scratch"
    scratch.mkdir()
    words = ["build", str(icu_image.release), "--base", str(distroless), "--engine", "assembled", "-o", str(target)]
    with (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, "TMPDIR": str(scratch)}
        child = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stderr=log, stdout=log, env=environment)
    deadline = time.monotonic() + 300
    while "asking 65 golden cases" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(number)
    assert child.wait(120) == 130
    listed = open_layout(target).index().manifests
    assert [item.annotations for item in listed if item.artifact_type is None] == [{}]
    done = subprocess.run([podman, "ps", "--all", "--format={{.Names}}"], check=True, capture_output=True, text=True)
    assert "bedside-proof" not in done.stdout
    assert not list(scratch.iterdir())


def test_interrupted_while_an_engine_builds_nothing_is_named_and_no_scratch_stays(
    icu_release: Path, bases_registry: Registry, podman: str, tmp_path: Path
) -> None:
    """What the engine keeps of steps that it finished has no name; it is its cache."""
    target, scratch = tmp_path / "interrupted.oci", tmp_path / "scratch"
    scratch.mkdir()
    bases = ("--base", bases_registry.distroless, "--installer", bases_registry.slim, "--plain-http", "--no-cache")
    words = ["build", str(icu_release), *bases, "--engine", podman, "-o", str(target)]
    with (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, "TMPDIR": str(scratch)}
        child = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stderr=log, stdout=log, env=environment)
    deadline = time.monotonic() + 300
    while "RUN --mount" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(120) == 130
    assert [item.annotations for item in open_layout(target).index().manifests] == []
    assert not [path.name for path in scratch.iterdir() if path.name.startswith("bedside-")]
