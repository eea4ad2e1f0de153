"""The served OpenAPI document against the server that serves it: no server error, nothing undocumented."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("default")
def test_every_answer_is_documented_and_none_is_a_server_error(address: str) -> None:
    schema = schemathesis.openapi.from_url(f"http://{address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} == {"/predict", "/livez", "/startupz", "/readyz", "/model"}
    answered: set[tuple[str, int]] = set()
    for operation in operations:

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            answered.add((case.operation.path, case.call_and_validate(checks=CHECKS).status_code))

        ask()
    assert ("/predict", 200) in answered
