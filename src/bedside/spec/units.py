"""UCUM units: which codes exist, and which values convert exactly into a declared unit.

Codes are parsed by ucumvert, factors come from pint in rational arithmetic. Conversion tables are made when
packaging; the runtime only applies the fractions that the contract records.
"""

import functools
from collections.abc import Mapping
from fractions import Fraction
from importlib import resources
from typing import Any

from bedside_runtime.contract import Conversion


def is_valid(unit: str) -> bool:
    """Return whether ``unit`` is a case-sensitive UCUM code."""
    from lark.exceptions import LarkError

    try:
        _parser().parse(unit)
    except LarkError:
        return False
    return True


@functools.cache
def conversions(unit: str) -> Mapping[str, Conversion]:
    """Return how to convert into ``unit`` from every other clinical unit of the same kind of quantity.

    Args:
        unit: A valid UCUM code; one that is on no line of clinical_units.txt converts from nothing.

    Returns:
        For each other unit the exact fractions with ``value_in_unit = value * scale + offset``.
    """
    for kind in kinds().values():
        if unit in kind:
            return {other: _conversion(other, unit) for other in kind if other != unit}
    return {}


@functools.cache
def kinds() -> Mapping[str, tuple[str, ...]]:
    """Return the clinical units by kind of quantity, as clinical_units.txt lists them."""
    text = resources.files("bedside.spec").joinpath("clinical_units.txt").read_text(encoding="utf-8")
    lines = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return {kind: tuple(units.split()) for kind, _, units in lines}


def _conversion(source: str, target: str) -> Conversion:
    zero, one = _convert(Fraction(0), source, target), _convert(Fraction(1), source, target)
    return Conversion(scale=str(one - zero), offset=str(zero))


def _convert(value: Fraction, source: str, target: str) -> Fraction:
    registry = _registry()
    given, wanted = registry.from_ucum(source), registry.from_ucum(target)
    converted = registry.Quantity(value * Fraction(given.magnitude), given.units).to(wanted.units).magnitude
    return Fraction(converted) / Fraction(wanted.magnitude)


@functools.cache
def _parser() -> Any:  # noqa: ANN401 - untyped library
    from ucumvert import get_ucum_parser

    return get_ucum_parser()


@functools.cache
def _registry() -> Any:  # noqa: ANN401 - untyped library
    """The unit registry; imported late, because it takes most of a second."""
    from ucumvert import PintUcumRegistry

    return PintUcumRegistry(non_int_type=Fraction)
