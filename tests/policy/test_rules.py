"""Every rule against whole deployments: one that is right, and small patches that break or only bend it."""

import pytest
from tests.policy.deployments_of_cases import Case, cases, fired, good, patched

CASES = cases()
BASES = {name: good(name) for name in ("icu", "gitlab")}
BASE = BASES["icu"]


@pytest.mark.parametrize("name", BASES)
def test_the_good_deployment_has_no_finding(name: str) -> None:
    assert fired(BASES[name]) == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.about}: {case.name}")
def test_a_patch_gives_the_findings_meant_for_it_and_no_other(case: Case) -> None:
    found = fired(patched(BASES[case.base], case))
    assert set(found) == set(case.finds), found


GUIDE = (
    "the status stays in the body",
    "a rate limit that does not exist",
    "the entry opens a path that is no route",
    "replicas stand beside the autoscaler",
    "the service account is not in the tree",
    "the claim is not in the tree",
    "the config map is called otherwise",
    "nothing makes the secret",
    "the pod runs as another user than the image is made for",
    "the startup budget is shorter than the load time",
    "what a pin needs is not pinned",
    "pushed without a login",
    "the scan always succeeds",
)
"""What a guide called ready for production was found to carry, all at once, while stock tools passed it."""


def test_mistakes_in_company_are_all_found_and_nothing_else() -> None:
    files, expected = dict(BASE), set()
    for name in GUIDE:
        (case,) = (case for case in CASES if case.name == name)
        files = patched(files, case)
        expected |= set(case.finds)
    assert len(expected) == len(GUIDE)
    assert set(fired(files)) == expected
