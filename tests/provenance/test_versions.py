import itertools

import pytest

from bedside.provenance.versions import NotAVersion, older

ORDERED = ["0.9.10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
           "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"]  # fmt: skip
"""The example of SemVer 2.0.0, clause 11, and numbers that text would order wrongly."""


def test_versions_are_ordered_as_semver_orders_them() -> None:
    for first, second in itertools.combinations(ORDERED, 2):
        assert older(first, second)
        assert not older(second, first)


def test_build_metadata_decides_nothing() -> None:
    assert not older("1.0.0+1", "1.0.0+2")
    assert not older("1.0.0_2", "1.0.0")


@pytest.mark.parametrize("text", ["", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "latest", "1.0.0 ", "1.0.0-"])
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(NotAVersion):
        older(text, "1.0.0")
