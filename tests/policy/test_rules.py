"""Every rule against whole deployments: one that is right, and small patches that break or only bend it."""

import pytest
from tests.policy.deployments_of_cases import Case, cases, fired, good, patched

BASE = good()
CASES = cases()


def test_the_good_deployment_has_no_finding() -> None:
    assert fired(BASE) == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.about}: {case.name}")
def test_a_patch_gives_the_findings_meant_for_it_and_no_other(case: Case) -> None:
    found = fired(patched(BASE, case))
    assert set(found) == set(case.finds), found
