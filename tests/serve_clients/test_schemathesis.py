"""The served OpenAPI document against the server that serves it: no server error, nothing undocumented."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    positive_data_acceptance,
    negative_data_rejection,
    unsupported_method,
]


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


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("default")
def test_what_the_document_does_not_allow_is_refused(address: str) -> None:
    schema = schemathesis.openapi.from_url(f"http://{address}/openapi.json")
    statuses: set[int] = set()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(schema["/predict"]["POST"].as_strategy(schemathesis.GenerationMode.NEGATIVE))
    def ask(case: schemathesis.Case) -> None:
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    ask()
    assert 422 in statuses
    assert 200 not in statuses
