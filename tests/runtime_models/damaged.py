"""Opens one model file again and again, damaged each time in another way, and predicts with what opens; says on stdout
what came of it.

A process of its own, because the libraries behind are native code: the case that ends it is the last one named.
"""

import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cohort import NUMBERS, PROBABILITY, asked, rows

from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.errors import BedsideRuntimeError

MEMORY = 3 * 2**30
"""Of addresses, the libraries' own included."""

SECONDS = 60
"""For one file."""

_WRITTEN = (
    b"-1",
    b"0",
    b"99999999",
    b"2147483647",
    b"4294967296",
    b"99999999999999999999",
    b"1e308",
    b"nan",
    b"",
    b" ",
)


def damaged(whole: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "zeros", bytes(32 * 2**20)
    yield "zeros after the head", whole[:200] + bytes(32 * 2**20)
    for part in range(16):
        yield f"the first {part} sixteenths", whole[: len(whole) * part // 16]
    for seed in range(count):
        drawn = random.Random(seed)
        yield f"garbage {seed}", whole[: drawn.choice([0, 8, 100])] + drawn.randbytes(drawn.choice([1, 100, 5000]))
        yield f"bytes {seed}", _bytes(whole, drawn)
        yield f"number {seed}", _number(whole, drawn)


def _bytes(whole: bytes, drawn: random.Random) -> bytes:
    """Flip bits, and leave bytes out or put some in."""
    changed = bytearray(whole)
    for _ in range(drawn.choice([1, 1, 2, 5, 20])):
        at = drawn.randrange(len(changed))
        match drawn.randrange(3):
            case 0:
                changed[at] ^= 1 << drawn.randrange(8)
            case 1:
                del changed[at]
            case 2:
                changed.insert(at, drawn.randrange(256))
    return bytes(changed)


def _number(whole: bytes, drawn: random.Random) -> bytes:
    """Write another number in the place of one that stands there in digits."""
    at = drawn.randrange(len(whole))
    while at < len(whole) and not whole[at : at + 1].isdigit():
        at += 1
    end = at
    while end < len(whole) and whole[end : end + 1].isdigit():
        end += 1
    return whole[:at] + drawn.choice(_WRITTEN) + whole[end:]


def main(path: Path, framework: str, count: int) -> None:
    whole = path.read_bytes()
    _, model = asked(path, framework, NUMBERS, PROBABILITY)  # type: ignore[arg-type] # one of the frameworks
    validated = answers(model)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ends = Counter[str]()
    for name, data in damaged(whole, count):
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
        path.write_bytes(data)
        signal.alarm(SECONDS)
        try:
            _, model = asked(path, framework, NUMBERS, PROBABILITY)  # type: ignore[arg-type] # one of the frameworks
        except BedsideRuntimeError as refused:
            if not refused.remedy:
                raise
            ends[refused.code] += 1
        else:
            ends[said(model, validated)] += 1
    signal.alarm(0)
    sys.stdout.write(f"{dict(ends)}\n")
    sys.stdout.write("all were answered\n")


def said(model: Predictor, validated: list[float]) -> str:
    """Predict with a model whose damaged file opened. What it raises the server takes as that of any model's code."""
    try:
        return "as validated" if answers(model) == validated else "otherwise"
    except Exception as error:  # noqa: BLE001 - see above
        return type(error).__name__


def answers(model: Predictor) -> list[float]:
    """What ``model`` answers for every patient of the cohort, together and one alone."""
    patients = rows(NUMBERS)
    return [float(value) for value in [*model.predict(patients), *model.predict(patients[:1])]]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
