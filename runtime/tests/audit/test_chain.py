import contextlib
import hashlib
import json
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import link

from bedside_runtime import canonical
from bedside_runtime.audit import chain
from bedside_runtime.audit.chain import START, Head, NotARecord, read

TIME = "2026-11-23T19:42:49.123456Z"

numbers = st.integers(1 - 2**53, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
bodies = st.dictionaries(st.text(), values)


def test_a_record_reads_back_as_it_was_linked() -> None:
    line, head = link(Head(7, "c" * 64), b'{"kind":"heartbeat","ready":true}', TIME, 12)
    record = read(line[:-1])
    assert (record.seq, record.prev, record.mono, record.time) == (7, "c" * 64, 12, TIME)
    assert record.body == {"kind": "heartbeat", "ready": True}
    assert Head(record.seq + 1, record.hash) == head


@given(bodies)
def test_every_line_is_canonical_json_and_reads_back(body: dict[str, Any]) -> None:
    line, _ = link(START, canonical.encode(body), TIME, 0)
    parsed = json.loads(line)
    assert canonical.encode(chain._as_doubles(parsed)) == line[:-1]
    assert canonical.encode(chain._as_doubles(read(line[:-1]).body)) == canonical.encode(body)


def test_anyone_with_sed_and_sha256sum_can_recompute_a_hash() -> None:
    line, head = link(START, b'{"kind":"heartbeat","ready":true}', TIME, 0)
    script = r"""tr -d '\n' | sed -E 's/"hash":"[0-9a-f]{64}",//' | sha256sum"""
    done = subprocess.run(["sh", "-c", script], input=line, capture_output=True, check=True)
    assert done.stdout.split()[0].decode() == head.hash


def test_the_hash_covers_number_and_hash_of_the_record_before() -> None:
    hashes = {
        link(head, b"{}", time, mono)[1].hash
        for head in (START, Head(1, "0" * 64), Head(0, "1" * 64))
        for time in (TIME, TIME.replace("19", "20"))
        for mono in (0, 1)
    }
    assert len(hashes) == 12


def _judged(body: bytes) -> None:
    """Whenever the quick way takes a line, the slow way does."""
    line = link(START, body, TIME, 0)[0][:-1]
    with contextlib.suppress(NotARecord):
        if chain._quickly(line) is not None:
            assert chain._is_canonical(line)


@given(
    numbers.map(lambda number: json.dumps(number).encode())
    | st.from_regex(rb"-?[0-9]{1,20}(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
)
def test_a_number_taken_for_canonical_quickly_is_canonical(number: bytes) -> None:
    for data in (b'{"a":%b}' % number, b'{"a":[%b,1]}' % number, b'{"a":[0,%b]}' % number):
        _judged(data)


@given(bodies)
def test_a_body_taken_for_canonical_quickly_is_canonical(body: dict[str, Any]) -> None:
    for data in (canonical.encode(body), json.dumps(body).encode(), json.dumps(body, separators=(",", ":")).encode()):
        _judged(data)


def test_the_quick_way_takes_what_a_prediction_looks_like() -> None:
    body = {"digest": "1234567890123456" * 4, "value": 0.30000000000000004, "n": 9, "none": None, "list": [1e-5, "x"]}
    line = link(START, canonical.encode(body), TIME, 0)[0][:-1]
    assert chain._quickly(line) is not None


@pytest.mark.parametrize(
    "body",
    [
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1.0}',
        b'{"a":-0}',
        b'{"a":1e16}',
        b'{"a":9007199254740993}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        '{"\ufffd":1,"\U0001f600":2}'.encode(),
        b"[1]",
        b"{",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_body_in_any_other_form_is_no_record_even_with_the_right_hash(body: bytes) -> None:
    line, _ = link(START, body, TIME, 0)
    with pytest.raises(NotARecord):
        read(line[:-1])


def test_a_double_beyond_the_exact_integers_is_canonical() -> None:
    line, _ = link(START, canonical.encode({"a": 1e17, "b": 1e-7, "c": 1.5e300}), TIME, 0)
    assert read(line[:-1]).body["c"] == 1.5e300


def test_a_hash_of_upper_case_is_another_line() -> None:
    line, head = link(START, b"{}", TIME, 0)
    with pytest.raises(NotARecord):
        read(line[:-1].replace(head.hash.encode(), head.hash.upper().encode()))


def test_a_body_that_looks_like_an_envelope_fools_nobody() -> None:
    inner, _ = link(START, b"{}", TIME, 0)
    body = canonical.encode({"a": json.loads(inner), "z": inner.decode()})
    record = read(link(START, body, TIME, 5)[0][:-1])
    assert record.body["a"]["mono"] == 0
    assert record.mono == 5


def test_the_digest_is_sha256() -> None:
    line, head = link(START, b"{}", TIME, 0)
    assert hashlib.sha256(line[:-1].replace(b'"hash":"%b",' % head.hash.encode(), b"")).hexdigest() == head.hash


def test_records_that_are_chained_together_are_those_that_are_chained_one_by_one() -> None:
    bodies = [b'{"a":%d}' % number for number in range(5)]
    one_by_one, head = [], Head(7, "c" * 64)
    for body in bodies:
        line, head = link(head, body, TIME, 12)
        one_by_one.append(line)
    assert chain.link(Head(7, "c" * 64), bodies, TIME, 12) == (one_by_one, head)


@given(bodies.map(canonical.encode))
def test_a_line_adds_no_more_to_its_body_than_is_said(body: bytes) -> None:
    line, _ = link(Head(2**63, "c" * 64), body, TIME, 2**63)
    assert len(line) - len(body) <= chain.ENVELOPE
