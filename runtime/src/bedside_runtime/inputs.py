"""From a request's JSON objects to validated rows: types, units, ranges, categories, missing values.

Everything that is wrong with a request is reported at once, and no report holds a value or a key that the
caller sent: a key may be a patient's name as well as a value can.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, assert_never

from msgspec import Struct

from bedside_runtime.contract import Cell, Conversion, Input, Row
from bedside_runtime.errors import BedsideRuntimeError

LARGEST_EXACT_INTEGER = 2**53
"""Beyond it a JSON number no longer names one integer (RFC 7493, section 2.2)."""


class Flag(Struct, frozen=True):
    """Something about an answered input that whoever reads the prediction should know."""

    code: Literal["outside-expected", "missing"]
    input: str


class ValidRow(Struct, frozen=True, gc=False):
    """One patient's values, one cell an input in declared order, and what was noticed about them."""

    cells: Row
    flags: tuple[Flag, ...] = ()


class Violation(Struct, frozen=True):
    """One reason why a request is refused.

    Attributes:
        instance: Which row of the request, from 0.
        input: The declared input concerned; ``None`` where no declared one is.
        code: Fixed kebab-case word.
        message: One sentence made from the contract alone.
    """

    instance: int
    input: str | None
    code: str
    message: str


class InvalidInputs(BedsideRuntimeError):
    """A request's inputs are not what the contract declares; ``violations`` names every problem."""

    exit_code = 2
    code = "invalid-inputs"
    remedy = "Send each declared input with its declared type, unit and range; GET /model lists them."

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__(f"{len(violations)} problem(s) in the inputs")
        self.violations = tuple(violations)


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Checker: TypeAlias = Callable[[object], Cell]


class InputDecoder:
    """Validates request objects against the declared inputs. Made once per release, used per request."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._inputs = tuple(inputs)
        self._names = frozenset(item.name for item in inputs)
        self._checkers = tuple(_checker(item) for item in inputs)

    def rows(self, objects: Sequence[object]) -> tuple[ValidRow, ...]:
        """Validate every object of a request.

        Args:
            objects: One mapping a patient, input name to value. A value is bare, in the declared unit, or
                ``{"value": ..., "unit": ...}`` in any unit that the contract can convert.

        Returns:
            One row an object, in order.

        Raises:
            InvalidInputs: With all violations of all objects.
        """
        violations: list[Violation] = []
        rows = [self._row(index, value, violations) for index, value in enumerate(objects)]
        if violations:
            raise InvalidInputs(violations)
        return tuple(rows)

    def _row(self, instance: int, values: object, violations: list[Violation]) -> ValidRow:
        if not isinstance(values, Mapping):
            message = "an instance must be an object from input name to value"
            violations.append(Violation(instance, None, "not-an-object", message))
            return ValidRow(())
        unknown = values.keys() - self._names
        violations += [Violation(instance, None, "unknown-input", self._unknown(key)) for key in unknown]
        cells: list[Cell] = []
        flags: list[Flag] = []
        for item, check in zip(self._inputs, self._checkers, strict=True):
            try:
                cell = check(values.get(item.name))
            except _Refused as refused:
                violations.append(Violation(instance, item.name, refused.code, str(refused)))
                continue
            cells.append(cell)
            flags += _flags(item, cell)
        return ValidRow(tuple(cells), tuple(flags))

    def _unknown(self, key: object) -> str:
        near = difflib.get_close_matches(str(key)[:128], self._names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"the instance has a key that this model does not declare{hint}"


def compile_inputs(inputs: Sequence[Input]) -> InputDecoder:
    """Return the decoder for ``inputs``."""
    return InputDecoder(inputs)


def _flags(item: Input, cell: Cell) -> list[Flag]:
    if cell is None:
        return [Flag("missing", item.name)]
    if item.expected is not None and isinstance(cell, (int, float)):
        low, high = item.expected
        if not low <= cell <= high:
            return [Flag("outside-expected", item.name)]
    return []


def _checker(item: Input) -> Checker:
    present = _present(item)
    optional = item.missing == "allow"

    def check(value: object) -> Cell:
        if value is not None:
            return present(value)
        if optional:
            return None
        raise _Refused("missing", f"{item.name} is required and must not be null")

    return check


def _present(item: Input) -> Checker:
    match item.type:
        case "number":
            return _measured(item, _number)
        case "integer":
            return _measured(item, _integer)
        case "category":
            return _category(item)
        case "boolean":
            return _boolean(item)
        case _:
            assert_never(item.type)


def _measured(item: Input, convert: Callable[[Input, object], float]) -> Checker:
    def check(value: object) -> Cell:
        if isinstance(value, Mapping):
            value = _in_declared_unit(item, value)
        number = convert(item, value)
        if item.valid is not None and not item.valid[0] <= number <= item.valid[1]:
            low, high = item.valid
            unit = f" {item.unit}" if item.unit else ""
            raise _Refused("out-of-range", f"{item.name} must be from {low:g} to {high:g}{unit}")
        return number

    return check


def _in_declared_unit(item: Input, measured: Mapping[object, object]) -> float:
    unit, value = measured.get("unit"), measured.get("value")
    if measured.keys() != {"value", "unit"} or not isinstance(unit, str):
        raise _Refused("wrong-type", f'{item.name} must be a number or {{"value": number, "unit": UCUM code}}')
    number = _number(item, value)
    if unit == item.unit:
        return number
    conversion: Conversion | None = item.conversions.get(unit)
    if conversion is None:
        declared = f"{item.unit} or a unit of the same kind" if item.unit else "no unit"
        raise _Refused("unit-not-accepted", f"{item.name} is declared with {declared}; this unit is not convertible")
    try:
        return conversion.apply(number)
    except OverflowError:
        raise _Refused("not-finite", f"{item.name} must be a finite number in {item.unit}") from None


def _number(item: Input, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Refused("wrong-type", f"{item.name} must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Refused("not-finite", f"{item.name} must be a finite number")
    return number


def _integer(item: Input, value: object) -> int:
    number = _number(item, value)
    if not number.is_integer() or abs(number) > LARGEST_EXACT_INTEGER:
        raise _Refused("wrong-type", f"{item.name} must be an integer")
    return int(number)


def _category(item: Input) -> Checker:
    admissible = frozenset(item.categories)

    def check(value: object) -> Cell:
        if not isinstance(value, str):
            raise _Refused("wrong-type", f"{item.name} must be a string")
        if value not in admissible:
            raise _Refused("not-a-category", f"{item.name} must be one of: {', '.join(item.categories)}")
        return value

    return check


def _boolean(item: Input) -> Checker:
    def check(value: object) -> Cell:
        if not isinstance(value, bool):
            raise _Refused("wrong-type", f"{item.name} must be true or false")
        return value

    return check
