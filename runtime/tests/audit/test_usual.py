"""What is taken apart many lines at a time is judged as line by line, and where line by line is asked, it is asked."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import Writer, judge, link

from bedside_runtime import canonical
from bedside_runtime.audit import chain, lines, record, usual
from bedside_runtime.audit.chain import START, Head, NotARecord

TIME = "2026-11-23T19:42:49.123456Z"
PREDICTION = record.Prediction(
    1, "ehr", 812, None, ("ab" * 32,), (record.Output("erhöht", (record.Flag("missing", "Größe"),), 0.25),), "r", "é☃😀"
)
EVERY_KIND: tuple[record.Body, ...] = (
    PREDICTION,
    record.Refusal("r", None, 503, "overloaded", 12),
    record.Lifecycle("ready"),
    record.Heartbeat(ready=True),
    record.Checkpoint("a\nnote\n\n— x y\n"),
    record.End("stop"),
)

exact = st.integers(1 - 2**53, 2**53 - 1)
values = exact | st.floats(allow_nan=False, allow_infinity=False) | st.floats(1e-6, 1e-3) | st.text() | st.booleans()
texts = st.none() | st.text()
outputs = st.fixed_dictionaries({"band": texts, "flags": st.just([]), "value": values})
predictions = st.fixed_dictionaries(
    {
        "batch": exact,
        "caller": texts,
        "inputs": texts | st.lists(st.text()),
        "kind": st.sampled_from(["prediction", "refusal", "end", "x"]),
        "outputs": st.lists(outputs),
    },
    optional={"status": exact, "x": values, "request": st.text()},
)


def _line(body: bytes) -> bytes:
    return link(START, body, TIME, 0)[0]


def _agree(line: bytes) -> None:
    """Whatever is taken apart together is what the careful way reads."""
    taken = usual.take_apart(line)
    if taken is not None:
        assert chain._is_canonical(line[:-1])
        assert [item.record for item in taken] == [chain.read(line[:-1])]


def test_every_kind_of_record_but_the_first_of_a_segment_is_usual() -> None:
    assert {type(body) for body in EVERY_KIND} == set(get_args(record.Body)) - {record.Genesis}
    written = [_line(record.encode(body)) for body in EVERY_KIND]
    taken = usual.take_apart(b"".join(written))
    assert taken is not None
    assert [item.record for item in taken] == [chain.read(line[:-1]) for line in written]
    assert [item.kind for item in taken] == [item.record.kind for item in taken]


@given(predictions)
def test_a_body_that_is_usual_is_what_the_careful_way_reads(body: dict[str, Any]) -> None:
    written = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for data in (canonical.encode(body), json.dumps(body).encode(), written.encode("utf-8", "surrogatepass")):
        _agree(_line(data))


@given(st.floats(allow_nan=False, allow_infinity=False) | st.floats(1e-6, 1e-3) | st.floats(1e14, 1e17) | exact)
def test_a_number_that_is_usual_is_canonical(number: float) -> None:
    for token in (json.dumps(number).encode(), canonical.encode(number), b"%d" % int(number), b"%d.0" % int(number)):
        _agree(_line(b'{"kind":"prediction","outputs":[{"band":null,"flags":[],"value":%b}]}' % token))


@pytest.mark.parametrize("count", [2**53 - 1, 2**53, 2**53 + 1, 2**63, 2**64 + 1])
def test_a_count_that_no_double_has_is_left_to_the_careful_way(count: int) -> None:
    body = record.encode(PREDICTION)
    _agree(link(START, body, TIME, count)[0])
    _agree(link(Head(count, START.hash), body, TIME, 0)[0])


HOSTILE = [
    b'{"kind":"prediction","batch":1}',
    b'{"batch":1,"batch":1,"kind":"prediction"}',
    b'{"batch":1,"kind": "prediction"}',
    b'{"batch":1,"kind":"prediction"} ',
    b'{"batch":1.0,"kind":"prediction"}',
    b'{"batch":-0,"kind":"prediction"}',
    b'{"batch":9007199254740992,"kind":"prediction"}',
    b'{"batch":9007199254740993,"kind":"prediction"}',
    b'{"batch":-9007199254740993,"kind":"prediction"}',
    b'{"batch":%b,"kind":"prediction"}' % (b"9" * 500),
    b'{"kind":"\\u0065nd"}',
    b'{"kind":"prediction","request":"\\/"}',
    b'{"kind":"prediction","request":"\\u001F"}',
    b'{"kind":"prediction","request":"\\ud800"}',
    b'{"kind":"prediction","request":"\\ud83d\\ude00"}',
    b'{"kind":"prediction","request":"\xff"}',
    b'{"kind":"prediction","request":"\xed\xa0\x80"}',
    b'{"kind":"prediction","request":"\xc0\x80"}',
    b'{"kind":"prediction","request":"\t"}',
    b'{"kind":"checkpoint"}',
    b'{"kind":"checkpoint","note":"UNSET"}',
    b'{"kind":"genesis"}',
    b'{"kind":null}',
    b"{}",
    b"[]",
    b"{",
    b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    *(
        b'{"kind":"prediction","outputs":[{"band":null,"flags":[],"value":%b}]}' % token
        for token in (b"1.0 0.0 -0.0 -0 1e400 1E2 1e2 1e-7 1e-6 0.000001 1e16 100000000000000000000 0.10 01").split()
    ),
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_records_among_usual_ones_get_the_verdict_place_and_reason_of_the_careful_way(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer()
    writer.open()
    for number in range(80):  # more than are taken apart together
        writer._line(body if number == 60 else record.encode(PREDICTION))
    files = writer.written().files
    quick = judge(files)
    monkeypatch.setattr(lines, "take_apart", lambda _: None)
    assert quick == judge(files)


def test_a_usual_record_with_another_hash_or_a_time_of_another_form_is_no_record() -> None:
    line = _line(record.encode(PREDICTION))
    (item,) = usual.take_apart(line) or ()
    assert chain.proved(item, line[:-1]) is item
    with pytest.raises(NotARecord, match="hash"):
        chain.proved(item, line[:-1].replace(b'"mono":0', b'"mono":1'))
    early = link(START, record.encode(PREDICTION), "2026-11-23 19:42:49.123456Z", 0)[0]
    (item,) = usual.take_apart(early) or ()
    with pytest.raises(NotARecord, match="form"):
        chain.proved(item, early[:-1])
