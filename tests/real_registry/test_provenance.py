"""From a project to an image that a hospital may run: packaged, built, described, scanned, signed, pushed, verified.

Against a registry with TLS and a password, as a person types it; then with everything that can be wrong on the way.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.provenance import advisories
from tests.provenance.images import python
from tests.provenance.keyring import ALICE, MALLORY, cosign_key, pem
from tests.real_registry.server import Server, running
from tests.real_registry.wire import Way, Wire, laid
from tests.stages.test_advisories import artifact

from bedside import wiring
from bedside.cli.main import run
from bedside.image import layers, oci
from bedside.image import layout as layouts
from bedside.image.attached import InLayout, InRegistry
from bedside.image.layers import File
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Reference
from bedside.process import Subprocess
from bedside.provenance import statements
from bedside.stages import evidence, record
from bedside.stages.push import push

pytestmark = [pytest.mark.package, pytest.mark.timeout(900)]  # packages, builds and scans once for all of them
ICU = Path(__file__).parents[2] / "examples" / "icu-mortality"
BEHIND = "opt/bedside/release/"
NAME = "models/icu"


@dataclass(frozen=True)
class Hospital:
    """Everything that the tests share.

    Attributes:
        server: The registry.
        work: Holds keys, trust policies, the release and the layout of its image.
    """

    server: Server
    work: Path

    @property
    def release(self) -> Path:
        return self.work / "icu" / "dist" / "icu-mortality-1.0.0"

    @property
    def layout(self) -> Layout:
        return layouts.open_layout(self.work / "icu.oci")

    @property
    def reach(self) -> list[str]:
        return ["--ca-file", str(self.server.ca_file)]

    @property
    def trust(self) -> list[str]:
        return ["--trust", str(self.work / "trust.toml")]

    @property
    def key(self) -> list[str]:
        return ["--key", str(self.work / "cosign.key")]

    @property
    def db(self) -> list[str]:
        return ["--db", f"{self.server.host}/trivy-db:2"]

    def where(self, name: str = NAME) -> str:
        return f"{self.server.host}/{name}"

    def copy(self, target: Path) -> Layout:
        """A layout of one's own, to do harm to."""
        shutil.copytree(self.layout.directory, target)
        return layouts.open_layout(target)


@pytest.fixture(scope="module")
def hospital(
    server: Server, distroless: Path, podman: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hospital]:
    """A signed release, its image with SBOM and provenance, keys, a trust policy and a mirror of advisories."""
    work = tmp_path_factory.mktemp("hospital")
    patch = pytest.MonkeyPatch()
    patch.setenv("REGISTRY_AUTH_FILE", str(server.auth_file(work / "auth.json")))
    patch.setenv("COSIGN_PASSWORD", "word")
    here = Hospital(server, work)
    _keys(work)
    _mirror(here)
    shutil.copytree(ICU, work / "icu", ignore=shutil.ignore_patterns("dist", "__pycache__"))
    settings = work / "icu" / "bedside.toml"
    settings.write_text(re.sub(r"(?m)^card .*$", r"\g<0>\nsigned = true", settings.read_text()))
    assert run(["package", str(work / "icu")]) == 0
    assert run(["sign", str(here.release), *here.key]) == 0
    words = ["--base", str(distroless), "--engine", "assembled", "--prove-with", podman]
    assert run(["build", str(here.release), "-o", str(work / "icu.oci"), *words]) == 0
    assert run(["sbom", str(work / "icu.oci"), "-o", str(work / "sbom.json")]) == 0
    yield here
    patch.undo()


def _keys(work: Path) -> None:
    (work / "cosign.key").write_bytes(cosign_key(ALICE, b"word"))
    (work / "mallory.pem").write_bytes(pem(MALLORY))
    (work / "release.pub").write_bytes(ALICE.public.pem)
    (work / "trust.toml").write_text(
        'schema = 1\n[[keys]]\nname = "release key"\nfile = "release.pub"\n[minimum]\nicu-mortality = "1.0.0"\n'
    )


def _mirror(here: Hospital) -> None:
    written = advisories.write(here.work / "db", datetime.now(UTC))
    layout = layouts.create(here.work / "mirror")
    made = artifact(layout, {path.name: path.read_bytes() for path in written.iterdir()})
    with here.server.repository("trivy-db") as repository:
        push(layout, made, Reference(here.server.host, "trivy-db", "2"), repository)


@pytest.fixture(scope="module")
def released(hospital: Hospital) -> str:
    """The image as it went to the registry: scanned, signed, pushed under a policy; returns its reference by digest."""
    layout = str(hospital.layout.directory)
    assert run(["scan", layout, *hospital.db, *hospital.reach]) == 0
    assert run(["sign", layout, *hospital.key, "--for", hospital.where()]) == 0
    assert run(["push", layout, f"{hospital.where()}:1.0.0", *hospital.reach, *hospital.trust]) == 0
    return f"{hospital.where()}@{hospital.layout.find().digest}"


def with_layer(layout: Layout, files: Mapping[str, bytes]) -> Descriptor:
    """Write the image with one more layer on top, and leave it alone in the layout."""
    from msgspec.structs import replace

    image = layout.find()
    manifest = layout.manifest(image)
    config = layout.config(manifest)
    layer = layers.write({path: File(data) for path, data in files.items()}, layout)
    rootfs = replace(config.rootfs, diff_ids=(*config.rootfs.diff_ids, layer.diff_id))
    written = layout.write_document(replace(config, rootfs=rootfs))
    changed = replace(manifest, config=written, layers=(*manifest.layers, layer.descriptor))
    for item in layout.index().manifests:
        layout.forget(item.digest)
    made = layout.write_document(changed)
    layout.add(made)
    return made


def test_the_whole_way_ends_with_an_image_that_the_policy_trusts_by_digest(
    hospital: Hospital, released: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["verify", released, *hospital.reach, *hospital.trust, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["signers"] == ["release key"]
    assert set(said["statements"]) == {statements.SBOM, statements.PROVENANCE, statements.SCAN, record.PREDICATE}
    with hospital.server.repository(NAME) as repository:
        kinds = sorted(item.artifact_type or "" for item in repository.referrers(hospital.layout.find().digest))
    assert kinds == sorted(
        ["application/vnd.cyclonedx+json", *["application/vnd.in-toto+json"] * 3]
        + ["application/vnd.dev.sigstore.bundle.v0.3+json"] * 5
    )


def test_trivy_finds_the_sbom_among_the_referrers_and_reads_it_instead_of_the_layers(
    hospital: Hospital, released: str, tmp_path: Path
) -> None:
    """Another implementation of referrers, with the tag fallback: this registry has no API for them."""
    hospital.server.auth_file(tmp_path / "config.json")
    (tmp_path / "db").mkdir()
    for name in ("trivy.db", "metadata.json"):
        (tmp_path / "db" / name).symlink_to(hospital.work / "db" / name)
    done = Subprocess().run(
        ["trivy", "image", "--image-src", "remote", "--sbom-sources", "oci", "--cache-dir", str(tmp_path), "--format",
         "json", "--skip-db-update", "--skip-java-db-update", "--skip-version-check", "--offline-scan",
         "--list-all-pkgs", "--output", str(tmp_path / "report.json"), "--scanners", "vuln", released],
        env={"SSL_CERT_FILE": str(hospital.server.ca_file), "DOCKER_CONFIG": str(tmp_path)},
        timeout=240,
    )  # fmt: skip
    assert done.ok, done.stderr
    assert "Detected SBOM format" in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ArtifactType"] == "cyclonedx"
    assert {"numpy", "scikit-learn"} <= {item["Name"] for result in report["Results"] for item in result["Packages"]}


def test_openssl_verifies_the_signature_in_the_registry(hospital: Hospital, released: str, tmp_path: Path) -> None:
    digest = hospital.layout.find().digest
    with hospital.server.repository(NAME) as repository:
        stored = repository.get(f"{digest.algorithm}-{digest.hex}.sig")
        (layer,) = oci.decode_manifest(stored.data).layers
        (tmp_path / "payload").write_bytes(b"".join(repository.blob(layer)))
    (tmp_path / "signature").write_text(layer.annotations["dev.cosignproject.cosign/signature"])
    script = (
        "openssl base64 -d -A -in signature -out raw && "
        f"openssl dgst -sha256 -verify {hospital.work / 'release.pub'} -signature raw payload"
    )
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "Verified OK\n", done.stderr


def test_the_release_in_the_image_carries_its_signature_and_its_runtime_demands_it(
    hospital: Hospital, released: str, tmp_path: Path
) -> None:
    unpacked = tmp_path / "release"
    manifest = hospital.layout.manifest(hospital.layout.find())
    for layer in manifest.layers:
        for member, tar in layers.members(hospital.layout, layer):
            if member.isreg() and member.name.startswith(BEHIND):
                path = unpacked / member.name.removeprefix(BEHIND)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
    interpreter = wiring.tools().environments.interpreter(
        hospital.release / "requirements.lock", hospital.release / "wheels", "3.11"
    )

    def loads(key: Path) -> int:
        command = [str(interpreter), "-m", "bedside_runtime", "verify", str(unpacked), "--key", str(key)]
        return subprocess.run(command, capture_output=True, timeout=240, check=False).returncode

    (tmp_path / "mallory.pub").write_bytes(MALLORY.public.pem)
    assert loads(hospital.work / "release.pub") == 0
    assert loads(tmp_path / "mallory.pub") == 3
    (unpacked / "contract.sig").unlink()
    assert loads(hospital.work / "release.pub") == 3


# -- what can be wrong on the way


def test_another_key_is_refused_before_anything_is_sent(hospital: Hospital, tmp_path: Path) -> None:
    layout = hospital.copy(tmp_path / "image")
    for item in layout.index().manifests:
        if item.artifact_type is not None and "in-toto" not in item.artifact_type:
            layout.forget(item.digest)
    where = str(layout.directory)
    assert run(["sign", where, "--key", str(hospital.work / "mallory.pem"), "--for", hospital.where("mallory")]) == 0
    assert run(["push", where, f"{hospital.where('mallory')}:1.0.0", *hospital.reach, *hospital.trust]) == 3
    assert run(["push", where, f"{hospital.where('mallory')}:1.0.0", *hospital.reach]) == 0
    there = f"{hospital.where('mallory')}@{layout.find().digest}"
    assert run(["verify", there, *hospital.reach, *hospital.trust]) == 3


def test_a_planted_package_key_and_table_refuse_by_file_and_layer_and_a_signature_does_not_help(
    hospital: Hospital, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = hospital.copy(tmp_path / "image")
    table = b"NHS Number,Surname,systolic\n" + b"9434765919,Invented,120\n9434765870,Fictional,130\n" * 3
    planted = {f"{BEHIND}notes/cohort.csv": table, f"{BEHIND}notes/deploy.key": pem(), **python("planted", "1.0")}
    with_layer(layout, planted)
    where, count = str(layout.directory), len(layout.manifest(layout.find()).layers)
    capsys.readouterr()
    assert run(["scan", where, *hospital.db, *hospital.reach]) == 1
    said = capsys.readouterr().out
    assert "planted 1.0: planted in Python (critical, fixed in 2.0)" in said
    assert f"/{BEHIND}notes/cohort.csv is a table of patients: it has nhsnumber; layer {count} of {count}" in said
    assert f"/{BEHIND}notes/deploy.key holds a private key; layer {count} of {count}" in said
    assert "9434765919" not in said
    assert run(["sign", where, *hospital.key, "--for", hospital.where()]) == 1  # nobody proved this image
    proof = statements.encode(layout.find().digest, "icu", statements.PROOF, {"result": "PASSED"})
    evidence.leave_statement(InLayout(layout, layout.find()), proof)  # so somebody says so
    assert run(["sign", where, *hospital.key, "--for", hospital.where()]) == 0
    assert run(["push", where, f"{hospital.where()}:planted", *hospital.reach, *hospital.trust]) == 3
    said = capsys.readouterr().err
    assert "BED-TRU-012" in said
    assert "BED-TRU-009" in said


def test_an_older_release_that_is_well_signed_is_refused(hospital: Hospital, released: str, tmp_path: Path) -> None:
    newer = tmp_path / "trust.toml"
    newer.write_text((hospital.work / "trust.toml").read_text().replace('"1.0.0"', '"1.0.1"'))
    (tmp_path / "release.pub").write_bytes(ALICE.public.pem)
    assert run(["verify", released, *hospital.reach, "--trust", str(newer)]) == 3


def test_a_layer_that_was_exchanged_in_the_registry_s_own_storage_is_never_passed(
    hospital: Hospital,
    released: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running(tmp_path / "other") as other:
        layout = hospital.layout
        with other.repository(NAME) as repository:
            push(layout, layout.find(), Reference(other.host, NAME, "1.0.0"), repository)
        digest = layout.manifest(layout.find()).layers[-1].digest
        (stored,) = other.storage.glob(f"**/blobs/sha256/*/{digest.hex}/data")
        data = bytearray(stored.read_bytes())
        data[len(data) // 2] ^= 1
        stored.write_bytes(data)
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(other.auth_file(tmp_path / "auth.json")))
        target = f"{other.host}/{NAME}@{layout.find().digest}"
        assert run(["scan", target, "--db", str(hospital.work / "db"), "--ca-file", str(other.ca_file)]) == 3
    assert digest in capsys.readouterr().err


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_registry_that_fails_while_things_are_attached_leaves_nothing_that_verifies(
    hospital: Hospital, released: str, tmp_path: Path, part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is there already, so that what is cut is the attaching and the tag alone."""
    name = f"cut/icu-{int(part * 100)}"
    layout = hospital.copy(tmp_path / "image")
    image = layout.find()
    with laid(Wire(hospital.server.port)) as wire:
        target = Reference(f"127.0.0.1:{wire.port}", name, "1.0.0")
        monkeypatch.setenv(
            "REGISTRY_AUTH_FILE", str(hospital.server.auth_file(tmp_path / "auth.json", host=target.host))
        )
        trust = _signed_for(hospital, target, layout)
        command = ["push", str(layout.directory), str(target), *hospital.reach, *trust]
        verify = ["verify", str(target.at(image.digest)), *hospital.reach, *trust]
        measured = _carried(wire, hospital, layout, target)
        wire.cut(Way.THERE, int(measured * part))
        assert run(command) == 4
        wire.heal()
        with hospital.server.repository(name) as repository:
            there = {item.descriptor.digest for item in InRegistry(repository, repository.get(image.digest)).beside()}
            assert repository.find("1.0.0") is None
        whole = {item.descriptor.digest for item in InLayout(layout, image).beside()}
        assert there < whole
        assert run(verify) == 3
        assert run(command) == 0
        assert run(verify) == 0


def _signed_for(hospital: Hospital, target: Reference, layout: Layout) -> list[str]:
    """Sign for what the image is called there, and return the policy that asks for it."""
    repository = str(Reference(target.host, target.repository))
    assert run(["sign", str(layout.directory), *hospital.key, "--for", repository]) == 0
    return hospital.trust


def _carried(wire: Wire, hospital: Hospital, layout: Layout, target: Reference) -> int:
    """Push the bare image where it will be, and everything to a place like it; return the bytes of what is attached."""
    bare = layouts.create(layout.directory.parent / "bare")
    shutil.rmtree(bare.directory / "blobs")
    (bare.directory / "blobs").symlink_to(layout.directory / "blobs")
    image = layout.find()
    bare.add(Descriptor(media_type=image.media_type, digest=image.digest, size=image.size))
    for place in (target.repository, f"{target.repository}-measured"):
        with hospital.server.repository(place, wire.port) as repository:
            push(bare, image, Reference(target.host, place), repository)
    wire.cut(Way.THERE, 1 << 40)
    with hospital.server.repository(f"{target.repository}-measured", wire.port) as repository:
        push(layout, image, Reference(target.host, f"{target.repository}-measured", "1.0.0"), repository)
    return wire.carried[Way.THERE]
