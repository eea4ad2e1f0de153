"""SBOM and provenance of images, beside them in a layout."""

import json
from pathlib import Path

import msgspec
import pytest
from tests.provenance.images import RELEASE, image, lock, python

from bedside.cli.main import run
from bedside.errors import ImageInvalid, ScanIncomplete
from bedside.image import contents
from bedside.image import layout as layouts
from bedside.image.attached import InLayout
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.provenance import statements
from bedside.release.reading import Release
from bedside.stages import layers
from bedside.stages.sbom import describes, leave_provenance, leave_sbom, sbom_of
from bedside_runtime import canonical
from bedside_runtime.contract import Contract
from bedside_runtime.contract import encode as encoded


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "image")


def released(layout: Layout, contract: Contract) -> Descriptor:
    files = {f"{RELEASE}/contract.json": encoded(contract), f"{RELEASE}/model_card.json": b'{"summary": "Risk."}'}
    said = {
        "org.opencontainers.image.base.digest": "sha256:" + "bb" * 32,
        "org.opencontainers.image.base.name": "registry.example.org/python@sha256:" + "bb" * 32,
    }
    return image(layout, python("numpy", "2.0.0"), files, annotations=said)


def test_an_image_is_described_from_its_own_layers(layout: Layout, a_contract: Contract) -> None:
    found = json.loads(sbom_of(layout, released(layout, a_contract)))
    names = {(item["type"], item["name"]) for item in found["components"]}
    assert {("library", "base-files"), ("library", "numpy"), ("machine-learning-model", a_contract.name)} <= names
    release = canonical.digest(encoded(a_contract))
    assert found["metadata"]["component"]["properties"] == [
        {"name": "dev.bedside:release-digest", "value": f"sha256:{release}"}
    ]


def test_layers_read_before_and_layers_read_by_a_scanner_have_the_same_packages(
    layout: Layout, a_contract: Contract
) -> None:
    made = released(layout, a_contract)
    manifest = layout.manifest(made)
    there = contents.read(layout, manifest, kept=describes)
    assert layers.inventoried(there) == layers.survey(layout, manifest)
    assert sbom_of(layout, made, there) == sbom_of(layout, made)


def test_packages_whose_file_was_not_kept_are_not_taken_for_none(layout: Layout, a_contract: Contract) -> None:
    there = contents.read(layout, layout.manifest(released(layout, a_contract)))
    with pytest.raises(ScanIncomplete, match="more than is read"):
        layers.inventoried(there)


def test_it_stands_beside_the_image_once_under_the_type_that_scanners_look_for(
    layout: Layout, a_contract: Contract
) -> None:
    made = released(layout, a_contract)
    for document in (b"{}", sbom_of(layout, made)):
        leave_sbom(layout, made, document)
    (beside,) = InLayout(layout, made).beside()
    assert beside.manifest.artifact_type == "application/vnd.cyclonedx+json"
    assert InLayout(layout, made).read(beside.manifest.layers[0]) == sbom_of(layout, made)


@pytest.mark.parametrize("name", ["contract.json", "model_card.json"])
def test_a_release_that_is_none_is_refused(layout: Layout, a_contract: Contract, name: str) -> None:
    made = image(layout, {f"{RELEASE}/contract.json": encoded(a_contract)}, {f"{RELEASE}/{name}": b"nothing"})
    with pytest.raises(ImageInvalid):
        sbom_of(layout, made)


def test_a_layer_that_cannot_be_read_gives_no_document(layout: Layout, a_contract: Contract) -> None:
    made = released(layout, a_contract)
    layout.path(layout.manifest(made).layers[1].digest).write_bytes(b"nothing")
    with pytest.raises(ScanIncomplete):
        sbom_of(layout, made)


def test_the_provenance_of_a_build_names_release_base_lock_and_distributions(
    layout: Layout, a_contract: Contract, tmp_path: Path
) -> None:
    made = released(layout, a_contract)
    (tmp_path / "requirements.lock").write_bytes(lock(("numpy", "2.0.0")).popitem()[1])
    release = Release(tmp_path, a_contract, "ab" * 32)
    for _ in range(2):
        leave_provenance(layout, made, release, "assembled")
    (beside,) = InLayout(layout, made).beside()
    statement = statements.decode(InLayout(layout, made).read(beside.manifest.layers[0]))
    assert (statement.predicate_type, statement.about(made.digest)) == (statements.PROVENANCE, True)
    materials = {item["name"]: item for item in statement.predicate["buildDefinition"]["resolvedDependencies"]}
    assert materials["release"]["digest"] == {"sha256": "ab" * 32}
    assert materials["base"]["uri"] == "oci://registry.example.org/python@sha256:" + "bb" * 32
    assert set(materials) == {"release", "base", "requirements.lock", "numpy"}


def test_the_command_writes_the_document_and_leaves_it_beside_the_image(
    layout: Layout, a_contract: Contract, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = released(layout, a_contract)
    assert run(["sbom", str(layout.directory)]) == 0
    assert capsys.readouterr().out.encode() == sbom_of(layout, made) + b"\n"
    assert run(["sbom", str(layout.directory), "-o", str(tmp_path / "sbom.json")]) == 0
    assert (tmp_path / "sbom.json").read_bytes() == sbom_of(layout, made)
    assert len(tuple(InLayout(layout, made).beside())) == 1


def test_a_contract_of_another_release_gives_another_document(layout: Layout, a_contract: Contract) -> None:
    other = msgspec.structs.replace(a_contract, version="9.9.9")
    documents = {sbom_of(layout, released(layout, one)) for one in (a_contract, other)}
    assert len(documents) == 2
