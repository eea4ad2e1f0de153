"""Quantities as Kubernetes writes them: ``500m``, ``2``, ``1.5Gi``, ``1e3``. Pure.

The format is that of ``k8s.io/apimachinery/pkg/api/resource``.
"""

import re
from fractions import Fraction
from typing import Final

_FORM: Final = re.compile(
    r"([+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}))(?:([numkMGTPE]|[KMGTPE]i)?|[eE]([+-]?[0-9]{1,2}))"
)
_BINARY: Final = {f"{letter}i": Fraction(2 ** (10 * power)) for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL: Final = {letter: Fraction(10) ** (3 * power) for power, letter in enumerate("num", -3)} | {
    letter: Fraction(10 ** (3 * power)) for power, letter in enumerate("kMGTPE", 1)
}
_UNITS: Final = _BINARY | _DECIMAL


def parse(text: str) -> Fraction | None:
    """Return the number that ``text`` stands for, ``None`` where it is no quantity."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    number, suffix, exponent = Fraction(found[1]), found[2], found[3]
    if exponent:
        return number * Fraction(10) ** int(exponent)
    return number * _UNITS[suffix] if suffix else number


def cores(text: str) -> Fraction | None:
    """Return a number of cores, thousandths at the least; ``None`` where it is none."""
    amount = parse(text)
    return amount if amount and amount > 0 and (1_000 * amount).denominator == 1 and not text.endswith("i") else None


def size(text: str) -> int | None:
    """Return a whole number of bytes; ``None`` where it is none."""
    amount = parse(text)
    return int(amount) if amount and amount > 0 and amount.denominator == 1 else None
