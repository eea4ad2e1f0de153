"""From a model's raw value to a checked answer."""

import math

from msgspec import Struct

from bedside_runtime.contract import Output, Scalar
from bedside_runtime.errors import OutputInvalid


class Answer(Struct, frozen=True):
    """One checked output value, and the band it falls in."""

    value: Scalar
    band: str | None


def answer(output: Output, raw: Scalar) -> Answer:
    """Check ``raw`` against what ``output`` declares.

    Raises:
        OutputInvalid: NaN or infinite; a probability outside [0, 1]; a label where a number is declared.
    """
    if output.type == "class":
        return _label(raw)
    if isinstance(raw, (str, bool)):
        raise OutputInvalid(f"the model answers {output.name} with a label where a number is declared")
    if not math.isfinite(raw):
        raise OutputInvalid(f"the model answers {output.name} with NaN or infinity")
    if output.type == "probability" and not 0.0 <= raw <= 1.0:
        raise OutputInvalid(f"the model answers {output.name} with a probability outside [0, 1]")
    return Answer(raw, output.band(raw))


def _label(raw: Scalar) -> Answer:
    if isinstance(raw, float) and not math.isfinite(raw):
        raise OutputInvalid("the model answers NaN or infinity where a class label is declared")
    return Answer(raw, None)
