import copy
import itertools
import json
import os
import random
import time
import tracemalloc

import pytest
from logs import POD, Writer, Written, a_log, judge, link

from bedside_runtime import canonical
from bedside_runtime.audit import record
from bedside_runtime.audit.chain import MAX_GROUP, MAX_RECORD, START, Head
from bedside_runtime.audit.lines import Lines, is_tear
from bedside_runtime.audit.notes import Checkpoint, origin
from bedside_runtime.audit.verify import Segment, Verdict, _Found, _Walk, verify

LONG = os.environ.get("BEDSIDE_FAULTS") == "long"
LOG = a_log(200, segments=1)
NAME = "boot1-00000000.jsonl"
TIME = "2026-11-23T20:00:00.000000Z"
KEPT = Checkpoint(origin(POD), LOG.head)
NOT_INTACT = set(Verdict) - {Verdict.INTACT}


@pytest.mark.parametrize("chunk", [1, 7, 511, 1 << 20])
def test_a_clean_log_is_intact_in_chunks_of_any_size(chunk: int) -> None:
    report = judge(LOG.files, checkpoints=[KEPT], chunk=chunk)
    assert (report.verdict, report.records, report.hash) == (Verdict.INTACT, 200, LOG.head.hash)
    assert report.bytes == len(LOG.files[NAME])
    assert report.place is None


def test_a_thousand_clean_logs_raise_no_alarm() -> None:
    for seed in range(1000):
        log = _any_clean_log(random.Random(seed))
        report = judge(log.files, checkpoints=[Checkpoint(origin(POD), log.head)], chunk=997)
        assert report.verdict is Verdict.INTACT, (seed, report)


def _any_clean_log(rng: random.Random) -> Written:
    writer = Writer()
    for _ in range(rng.randint(1, 4)):
        writer.open()
        for number in range(rng.randint(0, 12)):
            writer.add(
                {"kind": "heartbeat", "ready": True, "x": rng.random() * 10 ** rng.randint(-20, 20), "n": number}
            )
        if rng.random() < 0.5:
            writer.end()
    return writer.written()


def _states(*kept: Checkpoint) -> tuple[list[_Walk], list[bytes], list[int]]:
    """The walk before every line of LOG, so that a change in line n need not be met by reading n lines again.

    With the lines and their offsets.
    """
    lines = LOG.lines(NAME)
    states = []
    for number in range(len(lines)):
        walk = _Walk(None, kept, None, partial=False)
        walk.segment(Segment(NAME, 0, [b"".join(lines[:number])]))
        walk._held_back = None
        states.append(walk)
    return states, lines, list(itertools.accumulate(map(len, lines), initial=0))


def _go_on(state: _Walk, data: bytes, offset: int) -> Verdict:
    walk = copy.copy(state)
    walk._kept = list(state._kept)
    try:
        walk.lines(Lines([data], offset))
        walk.end()
    except _Found as found:
        return found.verdict
    return Verdict.INTACT


def _bits(line: bytes) -> range:
    """Every bit in `make faults`; every 17th one, so that all eight of a byte have their turn, elsewhere."""
    return range(0, len(line) * 8, 1 if LONG else 17)


def test_every_single_flipped_bit_is_found_and_never_taken_for_a_torn_tail() -> None:
    states, lines, offsets = _states()
    for number, (state, line) in enumerate(zip(states, lines, strict=True)):
        following = b"".join(lines[number + 1 : number + 2])
        for at in _bits(line):
            flipped = bytearray(line)
            flipped[at // 8] ^= 1 << at % 8
            verdict = _go_on(state, bytes(flipped) + following, offsets[number])
            assert verdict is Verdict.ALTERED, (number, at)


@pytest.mark.parametrize("at", range(0, len(LOG.files[NAME]) * 8, 60_013))
def test_going_on_from_a_state_judges_like_reading_the_whole_log(at: int) -> None:
    data = bytearray(LOG.files[NAME])
    data[at // 8] ^= 1 << at % 8
    report = judge({NAME: bytes(data)})
    assert report.verdict is Verdict.ALTERED
    assert report.place is not None
    assert report.place.offset == LOG.files[NAME].rfind(b"\n", 0, at // 8) + 1
    assert report.place.record == LOG.files[NAME].count(b"\n", 0, at // 8)


def test_every_deleted_record_is_found() -> None:
    lines = LOG.lines(NAME)
    for number in range(200):
        report = judge({NAME: b"".join(lines[:number] + lines[number + 1 :])}, checkpoints=[KEPT])
        expected = Verdict.ALTERED if number == 0 else Verdict.TRUNCATED if number == 199 else Verdict.GAP
        assert report.verdict is expected
        assert report.place is not None
        assert report.place.record == number


def test_every_repeated_record_is_found() -> None:
    lines = LOG.lines(NAME)
    for number in range(200):
        report = judge({NAME: b"".join(lines[: number + 1] + lines[number:])})
        assert report.verdict is Verdict.ALTERED
        assert report.place is not None
        assert report.place.record == number + 1


def test_every_inserted_record_is_found() -> None:
    lines, other = LOG.lines(NAME), a_log(200, pod="other").lines(NAME)
    for number in range(1, 200):
        report = judge({NAME: b"".join([*lines[:number], other[number], *lines[number:]])})
        assert report.verdict is Verdict.ALTERED
        assert report.place is not None
        assert report.place.record == number


def test_every_swap_of_any_two_of_two_hundred_records_is_found() -> None:
    states, lines, offsets = _states()
    for one, other in itertools.combinations(range(200), 2):
        verdict = _go_on(states[one], lines[other] + lines[one + 1 if other > one + 1 else one], offsets[one])
        assert verdict is (Verdict.GAP if one else Verdict.ALTERED), (one, other)


def test_a_swap_of_two_records_is_found_at_the_first() -> None:
    lines = a_log(40).lines(NAME)
    for one, other in itertools.combinations(range(40), 2):
        swapped = list(lines)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        report = judge({NAME: b"".join(swapped)})
        assert report.verdict in {Verdict.GAP, Verdict.ALTERED}
        assert report.place is not None
        assert report.place.record == one


def test_truncation_at_every_byte_is_found_against_a_checkpoint_and_is_a_torn_tail_without() -> None:
    log = a_log(8)
    data, kept = log.files[NAME], Checkpoint(origin(POD), log.head)
    first = data.index(b"\n") + 1
    for size in range(len(data)):
        cut = {NAME: data[:size]}
        whole = size == 0 or data[size - 1 : size] == b"\n"
        without = Verdict.ALTERED if size < first else Verdict.INTACT if whole else Verdict.TORN_TAIL
        assert judge(cut).verdict is without
        assert judge(cut, checkpoints=[kept]).verdict is Verdict.TRUNCATED


def test_two_hundred_records_cut_at_every_byte_are_told_from_a_torn_tail_by_a_checkpoint() -> None:
    """Every byte in `make faults`; every 61st one, and around every newline, elsewhere."""
    (without, lines, offsets), (against, _, _) = _states(), _states(KEPT)
    for number, line in enumerate(lines):
        for size in range(0, len(line), 1) if LONG else {0, 1, *range(2, len(line), 61), len(line) - 1}:
            expected = Verdict.TORN_TAIL if size else Verdict.INTACT
            if number or size:
                alone = _go_on(without[number], line[:size], offsets[number])
                assert alone is (expected if number else Verdict.ALTERED), (number, size)
            assert _go_on(against[number], line[:size], offsets[number]) is Verdict.TRUNCATED, (number, size)


def test_a_chain_made_anew_from_any_record_on_contradicts_the_checkpoint() -> None:
    """Whoever alters a record can hash everything behind it again; what was kept elsewhere stays as it is."""
    items = [json.loads(line) for line in LOG.lines(NAME)]
    for number in range(0, 200, 1 if LONG else 9):
        writer = Writer()
        writer.files, writer.head, writer.mono = {NAME: bytearray()}, START, 0
        for item in items:
            forged = item["body"] | ({"value": 0.75} if item["seq"] == number else {})
            line, writer.head = link(writer.head, canonical.encode(forged), item["time"], item["mono"])
            writer.files[NAME] += line
        files = writer.written().files
        assert judge(files).verdict in ({Verdict.INTACT} if number else {Verdict.INTACT, Verdict.ALTERED})
        assert judge(files, checkpoints=[KEPT]).verdict is Verdict.ALTERED


def test_a_tail_with_sectors_that_never_arrived_is_a_torn_tail() -> None:
    data = LOG.files[NAME]
    at = data.rfind(b"\n", 0, len(data) - 3000) + 1
    for first in range(-(-at // 512) * 512, len(data), 512):
        for last in range(first + 512, len(data) + 512, 512):
            end = min(last, len(data))
            report = judge({NAME: data[:first] + bytes(end - first) + data[end:]})
            assert report.verdict is Verdict.TORN_TAIL
            assert report.place is not None
            assert report.place.record == data.count(b"\n", 0, first)


@pytest.mark.parametrize(("start", "end"), [(1, 512), (512, 1000), (700, 1400)])
def test_zeros_that_are_no_sectors_are_an_alteration(start: int, end: int) -> None:
    data = LOG.files[NAME]
    at = data.rfind(b"\n", 0, len(data) - 4096) + 1
    base = -(-at // 512) * 512
    zeroed = data[: base + start] + bytes(end - start) + data[base + end :]
    assert judge({NAME: zeroed}).verdict is Verdict.ALTERED


def test_holes_everywhere_are_not_counted_in_memory() -> None:
    rest = b"\x00x" * (MAX_GROUP // 2)
    tracemalloc.start()
    assert not is_tear(rest, 0)
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert highest < 1_000_000


def test_more_zeros_than_one_group_holds_are_an_alteration() -> None:
    data = LOG.files[NAME]
    assert judge({NAME: data + bytes(MAX_RECORD)}).verdict is Verdict.TORN_TAIL
    assert judge({NAME: data + bytes(MAX_RECORD + 1)}).verdict is Verdict.ALTERED


def test_a_whole_record_with_something_behind_it_is_an_alteration() -> None:
    data = LOG.files[NAME]
    assert judge({NAME: data[:-1]}).verdict is Verdict.TORN_TAIL
    assert judge({NAME: data[:-1] + b"*"}).verdict is Verdict.ALTERED


THREE = a_log(30, segments=3)


def test_a_missing_segment_is_named() -> None:
    for number, name in enumerate(THREE.files):
        files = {key: data for key, data in THREE.files.items() if key != name}
        report = judge(files, checkpoints=[Checkpoint(origin(POD), THREE.head)])
        assert report.verdict is (Verdict.TRUNCATED if number == 2 else Verdict.MISSING_SEGMENT)


def test_no_segment_at_all_is_a_missing_segment_and_against_a_checkpoint_a_truncation() -> None:
    assert judge({}).verdict is Verdict.MISSING_SEGMENT
    assert judge({}, checkpoints=[KEPT]).verdict is Verdict.TRUNCATED


def test_swapped_segments_are_found() -> None:
    names = list(THREE.files)
    for one, other in itertools.combinations(range(3), 2):
        files = dict(THREE.files)
        files[names[one]], files[names[other]] = files[names[other]], files[names[one]]
        assert judge(files).verdict is Verdict.ALTERED


@pytest.mark.parametrize("number", range(3))
def test_a_segment_of_another_pod_is_found(number: int) -> None:
    other = a_log(30, segments=3, pod="icu-7f9c-x2")
    name = list(THREE.files)[number]
    assert judge(THREE.files | {name: other.files[name]}).verdict is Verdict.ALTERED


def test_records_of_another_pod_are_found_wherever_they_are_spliced_in() -> None:
    states, lines, offsets = _states()
    others = a_log(200, segments=1, pod="icu-7f9c-x2").lines(NAME)
    for number in range(200):
        instead = _go_on(states[number], others[number] + b"".join(lines[number + 1 : number + 2]), offsets[number])
        assert instead is Verdict.ALTERED, number
        between = _go_on(states[number], others[number] + lines[number], offsets[number])
        assert between is Verdict.ALTERED, number


def test_the_whole_log_of_another_pod_is_found_where_the_pod_is_known() -> None:
    other = a_log(30, segments=3, pod="icu-7f9c-x2")
    assert judge(other.files).verdict is Verdict.INTACT
    assert judge(other.files, pod=POD).verdict is Verdict.ALTERED


def test_two_files_of_one_number_are_found() -> None:
    files = {}
    for name, data in THREE.files.items():
        files[name] = data
        files[name.replace("boot1", "boot2")] = data
    assert judge(files).verdict is Verdict.ALTERED


def test_an_earlier_segment_cut_at_any_byte_is_found() -> None:
    log = a_log(7, segments=3)
    name = list(log.files)[1]
    data = log.files[name]
    for size in range(len(data)):
        report = judge(log.files | {name: data[:size]})
        assert report.verdict in {Verdict.GAP, Verdict.ALTERED}, size


def test_a_rewritten_log_contradicts_a_checkpoint_kept_elsewhere() -> None:
    other = Writer()
    other.open("boot2")
    while other.head.records < 300:
        other.add({"kind": "heartbeat", "ready": True})
    report = judge(other.written().files, checkpoints=[KEPT])
    assert report.verdict is Verdict.ALTERED
    assert report.place is not None
    assert report.place.record == 199


def _torn(rest: bytes) -> Writer:
    writer = Writer()
    writer.open()
    writer.add({"kind": "heartbeat", "ready": True})
    writer.tear(rest)
    return writer


def test_a_tear_that_the_next_segment_quotes_is_no_alarm() -> None:
    writer = _torn(b'{"body":{"kind":"predic')
    writer.open("boot2")
    report = judge(writer.written().files)
    assert report.verdict is Verdict.INTACT
    assert report.tears == 1


def test_a_tear_that_is_no_longer_as_quoted_is_found() -> None:
    writer = _torn(b'{"body":{"kind":"predic')
    writer.open("boot2")
    files = writer.written().files
    for changed in (b"", b'{"body":{"kind":"predi', b'{"body":{"kind":"predix'):
        data = files[NAME].replace(b'{"body":{"kind":"predic', changed)
        if changed == b'{"body":{"kind":"predix':
            data = files[NAME][: -len(changed)] + changed
        assert judge(files | {NAME: data}).verdict is Verdict.ALTERED


def test_an_alteration_that_the_next_segment_quotes_as_a_tear_is_an_alteration() -> None:
    writer = _torn(b'{"body":{}}\n')
    writer.open("boot2")
    assert judge(writer.written().files).verdict is Verdict.ALTERED


def test_a_record_behind_the_end_of_its_segment_is_found() -> None:
    writer = Writer()
    writer.open()
    writer.end()
    assert judge(writer.written().files).closed
    writer.add({"kind": "heartbeat", "ready": True})
    assert judge(writer.written().files).verdict is Verdict.ALTERED


def test_a_log_may_begin_in_the_middle_only_where_that_is_asked_for() -> None:
    later = dict(list(THREE.files.items())[1:])
    assert judge(later).verdict is Verdict.MISSING_SEGMENT
    report = judge(later, partial=True, checkpoints=[Checkpoint(origin(POD), Head(10, _hash_at(10)))])
    assert report.verdict is Verdict.INTACT
    assert (
        judge(later, partial=True, checkpoints=[Checkpoint(origin(POD), Head(10, "0" * 64))]).verdict is Verdict.ALTERED
    )


def _hash_at(records: int) -> str:
    return record.msgspec.json.decode(b"".join(THREE.files.values()).splitlines()[records - 1])["hash"]


def test_clocks_that_go_back_and_silences_are_counted_and_are_no_alarm() -> None:
    writer = Writer()
    writer.open()
    writer.mono += 25_000_000
    writer.add({"kind": "heartbeat", "ready": True})
    writer.mono -= 5_000_000
    writer.add({"kind": "heartbeat", "ready": True})
    report = judge(writer.written().files)
    assert (report.verdict, report.silences, report.clock_steps) == (Verdict.INTACT, 1, 1)


def test_verification_needs_the_same_memory_for_any_log() -> None:
    log = a_log(3000)

    def peak(times: int) -> int:
        tracemalloc.start()
        data = log.files[NAME]
        chunks = (data[at : at + 65_536] for at in range(0, len(data) // times, 65_536))
        verify([Segment(NAME, 0, chunks)])
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(1)
    assert peak(1) < peak(10) + 100_000


@pytest.mark.parametrize("chunk", [1 << 16, 1 << 20, 1 << 24])
@pytest.mark.parametrize(("size", "verdict"), [(MAX_RECORD, Verdict.INTACT), (MAX_RECORD + 1, Verdict.ALTERED)])
def test_a_line_longer_than_any_record_is_none_in_chunks_of_any_size(size: int, verdict: Verdict, chunk: int) -> None:
    data = LOG.files[NAME]
    empty, _ = link(LOG.head, b'{"note":""}', TIME, 10**9)
    longest, _ = link(LOG.head, b'{"note":"%b"}' % (b"x" * (size - len(empty))), TIME, 10**9)
    assert len(longest) == size
    report = judge({NAME: data + longest}, chunk=chunk)
    assert (report.verdict, report.records) == (verdict, 201 if verdict is Verdict.INTACT else 200)


def test_a_line_without_an_end_is_not_read_into_memory() -> None:
    endless = itertools.chain([LOG.files[NAME]], itertools.repeat(b"x" * 1_000_000, 10_000))
    started = time.monotonic()
    assert verify([Segment(NAME, 0, endless)]).verdict is Verdict.ALTERED
    assert time.monotonic() - started < 5
