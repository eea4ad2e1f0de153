"""Which of two versions is older: SemVer 2.0.0, clause 11. Pure."""

import re
from typing import Final

_SEMVER: Final = re.compile(
    r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})(?:-([0-9A-Za-z.-]{1,100}))?(?:[+_][0-9A-Za-z.-]+)?"
)


class NotAVersion(ValueError):
    """The text is no version of SemVer."""


def older(version: str, than: str) -> bool:
    """Whether ``version`` comes before ``than``; build metadata decides nothing.

    Raises:
        NotAVersion: One of them is none.
    """
    (numbers, early), (other_numbers, other_early) = _parts(version), _parts(than)
    if numbers != other_numbers or not (early and other_early):
        return (numbers, not early) < (other_numbers, not other_early)
    return early < other_early


def _parts(version: str) -> tuple[tuple[int, ...], tuple[tuple[bool, int, str], ...]]:
    found = _SEMVER.fullmatch(version)
    if found is None:
        raise NotAVersion(f"{version[:60]!r} is no version")
    early = found[4].split(".") if found[4] else ()
    numbers = tuple(int(found[group]) for group in (1, 2, 3))
    return numbers, tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in early)
