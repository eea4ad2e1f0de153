import builtins
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.audit.recorded import OTHER, PATIENT, POD, Recorded, record

from bedside.audit.entries import KINDS, Entry, Selection
from bedside.audit.rows import rows
from bedside.errors import ToolFailed
from bedside.stages.audit import show
from bedside.stages.audit_export import export
from bedside_runtime.audit import record as bodies


def entries(log: Recorded) -> list[Entry]:
    found: list[Entry] = []
    show(log.folder, found.append, selection=Selection(kinds=frozenset(KINDS)))
    return found


def table(log: Recorded, tmp_path: Path, **more: object) -> pa.Table:
    exported = export(log.root, tmp_path / "log.parquet", "parquet", **more)  # type: ignore[arg-type]
    assert exported.path is not None
    return parquet.read_table(exported.path)


def test_every_answered_row_is_a_row_with_its_digest(tmp_path: Path) -> None:
    found = table(record(tmp_path), tmp_path).to_pylist()
    answers = [item for item in found if item["kind"] == "prediction"]
    assert len(answers) == 12
    two = [item for item in answers if item["request"] == "r-03"]
    assert [(item["row"], item["value"], item["band"], item["batch"]) for item in two] == [
        (0, 0.5, "high", 2),
        (1, 0.125, "low", 2),
    ]
    assert two[0]["flags"] == [{"code": "missing", "input": "lactate"}]
    assert two[0]["inputs_hmac"] != two[1]["inputs_hmac"]
    assert two[1]["inputs_hmac"] == answers[0]["inputs_hmac"]
    assert {item["inputs"] for item in found} == {None}
    assert answers[0]["time"].tzinfo is not None
    assert abs((datetime.now(UTC) - answers[0]["time"]).total_seconds()) < 600


def test_refusals_and_changes_are_rows_too(tmp_path: Path) -> None:
    found = table(record(tmp_path), tmp_path).to_pylist()
    refused = [(item["request"], item["status"], item["code"]) for item in found if item["kind"] == "refusal"]
    assert refused[:2] == [("r-05", 422, "invalid-inputs"), ("r-06", 503, "overloaded")]
    assert [item["event"] for item in found if item["kind"] == "lifecycle"] == ["start", "ready", "drain"] * 2
    assert {item["pod"] for item in found} == {POD}


def test_opened_inputs_stand_beside_what_was_answered(tmp_path: Path) -> None:
    from bedside.audit.inputs import Unsealed

    log = record(tmp_path, "encrypted")
    unsealed = Unsealed(log.opening_key.read_bytes())
    found = table(log, tmp_path, unsealed=unsealed).to_pylist()
    opened = [json.loads(item["inputs"]) for item in found if item["request"] == "r-03"]
    assert opened == [OTHER, PATIENT]


def test_without_the_key_sealed_inputs_do_not_leave(tmp_path: Path) -> None:
    found = table(record(tmp_path, "encrypted"), tmp_path)
    assert found["inputs"].null_count == found["inputs_hmac"].null_count == len(found)


def test_the_file_says_what_the_log_was_found_to_be(tmp_path: Path) -> None:
    log = record(tmp_path)
    table(log, tmp_path, selection=Selection(kinds=frozenset({"refusal"})))
    metadata = parquet.read_metadata(tmp_path / "log.parquet").metadata
    (found,) = json.loads(metadata[b"bedside.audit"])
    assert (found["pod"], found["verdict"]) == (POD, "intact")
    assert found["records"] > 20


def test_more_rows_than_a_group_holds_become_more_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bedside.audit import parquet as module

    monkeypatch.setattr(module, "_GROUP", 5)
    log = record(tmp_path)
    table(log, tmp_path)
    assert parquet.read_metadata(tmp_path / "log.parquet").num_row_groups > 3


def test_a_class_is_a_label_and_a_number_a_value(tmp_path: Path) -> None:
    entry = next(item for item in entries(record(tmp_path)) if item.kind == "prediction")
    assert isinstance(entry.body, bodies.Prediction)
    for value, number, label in ((2, 2.0, None), (0.5, 0.5, None), ("sepsis", None, "sepsis"), (True, None, "True")):
        body = bodies.Prediction(1, None, 1, None, None, (bodies.Output(None, (), value),), "r", "r-1")
        (row,) = rows(Entry(entry.segment, entry.genesis, entry.line, body), None)
        assert (row["value"], row["label"]) == (number, label)


def test_every_kind_of_record_can_be_a_row(tmp_path: Path) -> None:
    first = entries(record(tmp_path))[0]
    for body in (bodies.Heartbeat(ready=False), bodies.End("stop"), bodies.Checkpoint("note"), first.genesis):
        assert len(rows(Entry(first.segment, first.genesis, first.line, body), None)) == 1


def test_without_pyarrow_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **more: object) -> object:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "bedside.audit.parquet", raising=False)
    with pytest.raises(ToolFailed) as caught:
        export(record(tmp_path).root, tmp_path / "log.parquet", "parquet")
    assert "bedside[parquet]" in caught.value.remedy
    assert not (tmp_path / "log.parquet").exists()
