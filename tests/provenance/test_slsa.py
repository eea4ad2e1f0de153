import json

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2

from bedside.provenance import slsa, statements
from bedside.provenance.slsa import Material

MATERIALS = (
    Material("release", "sha256:" + "aa" * 32),
    Material("base", "sha256:" + "bb" * 32, "oci://registry.example.org/python@sha256:" + "bb" * 32),
    Material("numpy", None, "pkg:pypi/numpy@2.0.0"),
)


def test_the_statement_is_one_for_in_toto_s_own_definition() -> None:
    predicate = slsa.predicate("assembled", {"release": "icu-1.0.0"}, MATERIALS, "0.1.0")
    data = statements.encode("sha256:" + "cc" * 32, "icu:1.0.0", statements.PROVENANCE, predicate)
    read = json_format.Parse(data, statement_pb2.Statement())
    assert read.predicate_type == "https://slsa.dev/provenance/v1"
    found = json_format.ParseDict(json.loads(data)["predicate"], provenance_pb2.Provenance())
    assert [item.name for item in found.build_definition.resolved_dependencies] == ["release", "base", "numpy"]
    assert found.run_details.builder.id == "https://bedside.dev/builder/local/v1"


def test_it_claims_level_1_and_says_why_no_more() -> None:
    said = slsa.predicate("assembled", {}, (), "0.1.0")["buildDefinition"]["internalParameters"]["buildLevel"]
    assert said["level"] == "SLSA_BUILD_LEVEL_1"
    assert "not hosted, not isolated" in said["why"]


@pytest.mark.parametrize("method", ["assembled", "dockerfile"])
def test_the_two_ways_to_build_are_two_build_types(method: str) -> None:
    found = slsa.predicate(method, {}, (), "0.1.0")  # type: ignore[arg-type]
    assert found["buildDefinition"]["buildType"] == f"https://bedside.dev/build/{method}/v1"
