"""How long a caller will wait, in three spellings."""

import pytest

from bedside_runtime.serve.deadlines import seconds
from bedside_runtime.serve.problems import Problem


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({}, None),
        ({b"x-request-deadline-ms": b"250"}, 0.25),
        ({b"x-envoy-expected-rq-timeout-ms": b"15000"}, 15.0),
        ({b"grpc-timeout": b"2H"}, 7200.0),
        ({b"grpc-timeout": b"3M"}, 180.0),
        ({b"grpc-timeout": b"4S"}, 4.0),
        ({b"grpc-timeout": b"100m"}, 0.1),
        ({b"grpc-timeout": b"99999999u"}, 99.999999),
        ({b"grpc-timeout": b"5n"}, 5e-9),
        ({b"grpc-timeout": b"1S", b"x-request-deadline-ms": b"2000"}, 1.0),
        ({b"x-envoy-expected-rq-timeout-ms": b"100", b"x-request-deadline-ms": b"2000"}, 0.1),
    ],
)
def test_the_shortest_time_counts(head: dict[bytes, bytes], expected: float | None) -> None:
    assert seconds(head) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("value", [b"", b"1.5", b"-1", b"1e3", b"1 ", b"0x10", b"9" * 13, "\u0661".encode()])
def test_what_is_no_time_is_refused(value: bytes) -> None:
    for name in (b"x-request-deadline-ms", b"x-envoy-expected-rq-timeout-ms", b"grpc-timeout"):
        with pytest.raises(Problem) as refused:
            seconds({name: value})
        assert refused.value.code == "bad-deadline"


@pytest.mark.parametrize("value", [b"1", b"S", b"1s", b"123456789S", b"1 S"])
def test_a_grpc_timeout_has_up_to_eight_digits_and_a_unit(value: bytes) -> None:
    with pytest.raises(Problem):
        seconds({b"grpc-timeout": value})
