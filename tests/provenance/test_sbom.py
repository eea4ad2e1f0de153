import json
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from bedside.provenance import model_card, sbom
from bedside.provenance.inventory import Inventory, OperatingSystem, Package
from bedside.provenance.sbom import Described
from bedside_runtime.contract import Contract, File

DIGEST = "sha256:" + "ab" * 32
DEBIAN = OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)")
LIBC = Package("deb", "libc6", "1:2.36-9+deb12u9", "var/lib/dpkg/status.d/libc6", "amd64", "glibc", ("GPL-2+", "MIT"))
MUSL = Package("apk", "libstdc++", "12.2-r0", "lib/apk/db/installed", "x86_64", licenses=("GPL-2.0-or-later",))
NUMPY = Package("pypi", "numpy", "2.4.6+local", "site/numpy.dist-info/METADATA", licenses=("BSD-3-Clause AND Zlib",))
OTHER = Package("pypi", "other", "1.0", "site/other.dist-info/METADATA", licenses=("Apache Software License",))
CARD = {
    "name": "ICU", "summary": "Risk.", "intended_use": "Teaching.", "out_of_scope": ["Children."],
    "contact": {"who": "us"}, "training_data": {"source": "one hospital"}, "performance": {"auroc": 0.7},
    "subgroups": "none compared", "limitations": ["Old."], "license": "CC-BY-4.0",
}  # fmt: skip


@pytest.fixture
def described(a_contract: Contract) -> Described:
    artifact = File(path=a_contract.model.artifact, sha256="cd" * 32, size=1)
    contract = msgspec.structs.replace(a_contract, files=(artifact,))
    return Described(
        DIGEST,
        Inventory(DEBIAN, (LIBC, MUSL, NUMPY, OTHER), interpreters=("usr/local/bin/python3.11",)),
        contract,
        "ef" * 32,
        CARD,
    )


def document(described: Described) -> dict[str, Any]:
    data = sbom.encode(described, "0.1.0")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    found: dict[str, Any] = json.loads(data)
    return found


def test_a_document_follows_the_official_schema_and_names_everything(described: Described) -> None:
    components = {item["name"]: item for item in document(described)["components"]}
    assert set(components) == {"debian", "libc6", "libstdc++", "numpy", "other", "python", described.contract.name}  # type: ignore[union-attr]
    assert document(described)["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    references = [item["bom-ref"] for item in document(described)["components"]]
    assert document(described)["dependencies"] == [{"ref": DIGEST, "dependsOn": references}]
    assert len(set(references)) == len(references)


def test_the_same_image_gives_the_same_bytes_and_another_image_another_serial_number(described: Described) -> None:
    assert sbom.encode(described, "0.1.0") == sbom.encode(described, "0.1.0")
    other = Described("sha256:" + "ac" * 32, described.inventory)
    serials = {json.loads(sbom.encode(item, "0.1.0"))["serialNumber"] for item in (described, other)}
    assert len(serials) == 2


def test_an_image_of_something_else_has_no_model(described: Described) -> None:
    kinds = {item["type"] for item in document(Described(DIGEST, described.inventory))["components"]}
    assert "machine-learning-model" not in kinds


def test_an_empty_image_is_described_too() -> None:
    assert document(Described(DIGEST, Inventory(None, ())))["components"] == []


@pytest.mark.parametrize("item", [LIBC, MUSL, NUMPY])
def test_package_urls_are_what_others_read(item: Package) -> None:
    read = PackageURL.from_string(sbom.purl(item, DEBIAN))
    assert (read.type, read.name, read.version) == (item.kind, item.name, item.version)


def test_the_source_package_stands_in_the_package_url() -> None:
    assert PackageURL.from_string(sbom.purl(LIBC, DEBIAN)).qualifiers == {
        "arch": "amd64",
        "distro": "debian-12",
        "upstream": "glibc",
    }


@pytest.mark.parametrize(
    ("said", "licenses"),
    [
        (("MIT",), [{"license": {"id": "MIT"}}]),
        (("mit",), [{"license": {"id": "MIT"}}]),
        (("MIT OR Apache-2.0",), [{"expression": "MIT OR Apache-2.0"}]),
        (("MIT License",), [{"license": {"name": "MIT License"}}]),
        (("GPL-2+", "MIT"), [{"license": {"name": "GPL-2+"}}, {"license": {"id": "MIT"}}]),
    ],
)
def test_licenses_are_identifiers_expressions_or_names(said: tuple[str, ...], licenses: list[object]) -> None:
    assert sbom.licenses(said) == licenses


def test_the_model_stands_with_its_card_and_the_digest_of_its_bytes(described: Described) -> None:
    (model,) = [item for item in document(described)["components"] if item["type"] == "machine-learning-model"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]
    assert model["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    card = model["modelCard"]
    assert card["considerations"] == {
        "useCases": ["Teaching."],
        "technicalLimitations": ["Old.", "Out of scope: Children."],
    }
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "auroc", "value": "0.7"},
        {"type": "performance", "value": "none compared", "slice": "subgroups"},
    ]
    assert {item["name"] for item in card["properties"]} == {"dev.bedside:card:contact", "dev.bedside:card:summary"}
    inputs = [item["format"] for item in card["modelParameters"]["inputs"]]
    assert len(inputs) == len(described.contract.inputs)  # type: ignore[union-attr]


def test_of_a_card_nothing_is_left_out(described: Described) -> None:
    text = json.dumps(document(described))
    for value in ("Risk.", "Teaching.", "Children.", "one hospital", "0.7", "none compared", "Old.", "us", "CC-BY-4.0"):
        assert value in text


@pytest.mark.parametrize("card", [None, "a sentence", ["a", 1], {"limitations": None, "performance": 0.7}, {}])
def test_any_card_gives_a_document(described: Described, card: Any) -> None:
    document(Described(DIGEST, described.inventory, described.contract, described.release, card))
    assert model_card.of(described.contract, card)["modelParameters"]  # type: ignore[arg-type]
