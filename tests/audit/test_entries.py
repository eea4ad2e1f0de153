from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.audit.recorded import Recorded, record

from bedside.audit.entries import KINDS, Entries, Entry, Selection
from bedside.errors import VerificationFailed
from bedside.stages.audit import show
from bedside_runtime.audit.chain import Record
from bedside_runtime.audit.record import Body
from bedside_runtime.audit.verify import Segment, Verdict


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("log"))


def taken(log: Recorded, **wanted: Any) -> list[Entry]:
    found: list[Entry] = []
    (judged,) = show(log.folder, found.append, selection=Selection(**wanted))
    assert judged.report.verdict is Verdict.INTACT
    return found


def requests(found: list[Entry]) -> list[str]:
    return [item.line.body["request"] for item in found]


def test_what_is_told_is_what_was_asked_and_what_happened(log: Recorded) -> None:
    kinds = [item.kind for item in taken(log)]
    one = ["lifecycle"] * 2 + ["prediction"] * 5 + ["refusal"] * 2 + ["lifecycle", "end"]
    assert kinds == one * 2


def test_every_kind_can_be_asked_for(log: Recorded) -> None:
    everything = taken(log, kinds=frozenset(KINDS))
    assert [item.line.seq for item in everything] == list(range(len(everything)))
    assert {item.kind for item in everything} == set(KINDS) - {"heartbeat"}
    assert set(KINDS) == {kind.__struct_config__.tag for kind in Body.__args__}


def test_an_entry_knows_its_segment(log: Recorded) -> None:
    found = taken(log)
    assert [item.genesis.segment for item in found] == [0] * 11 + [1] * 11
    assert {(item.segment, item.genesis.segment) for item in found} == {
        (path.name, number) for number, path in enumerate(log.files)
    }
    assert found[0].position.seq == found[0].line.seq


def test_of_one_caller(log: Recorded) -> None:
    assert requests(taken(log, callers=frozenset({"ward-4"}))) == ["r-03", "r-05", "r-13", "r-15"]


def test_of_one_request(log: Recorded) -> None:
    assert requests(taken(log, requests=frozenset({"r-12", "r-06"}))) == ["r-06", "r-12"]


def test_of_one_band_even_if_one_row_alone_has_it(log: Recorded) -> None:
    assert requests(taken(log, bands=frozenset({"low"}))) == ["r-00", "r-02", "r-03", "r-10", "r-12", "r-13"]


def test_all_that_is_asked_for_must_be_so(log: Recorded) -> None:
    wanted = {"bands": frozenset({"high"}), "callers": frozenset({"ward-3"})}
    assert requests(taken(log, **wanted)) == ["r-01", "r-11"]


def test_the_first_moment_belongs_to_it_and_the_last_does_not(log: Recorded) -> None:
    times = [item.line.time for item in taken(log)]
    later = taken(log, since=times[5])
    assert [item.line.time for item in later] == [time for time in times if time >= times[5]]
    earlier = taken(log, until=times[5])
    assert [item.line.time for item in earlier] == [time for time in times if time < times[5]]
    assert len(earlier) + len(later) == len(times)
    assert datetime.fromisoformat(times[0]).tzinfo is UTC


def test_a_record_that_a_newer_version_wrote_is_refused_and_not_passed_over() -> None:
    line = Record({"kind": "dream"}, "0" * 64, 0, "0" * 64, 7, "2026-11-23T19:00:00.000000Z")
    with pytest.raises(VerificationFailed, match="record 7 in s is of a kind that is not known here"):
        Entries(Selection(), lambda _: None)(Segment("s", 0, ()), line)


def test_what_a_newer_version_adds_to_a_record_is_passed_over(log: Recorded) -> None:
    found = taken(log)[0]
    more = msgspec.structs.replace(found.line, body={**found.line.body, "weather": "rain"})
    again: list[Entry] = []
    entries = Entries(Selection(kinds=frozenset(KINDS)), again.append)
    entries(Segment("s", 0, ()), msgspec.structs.replace(more, body=msgspec.to_builtins(found.genesis)))
    entries(Segment("s", 0, ()), more)
    assert again[1].body == found.body
