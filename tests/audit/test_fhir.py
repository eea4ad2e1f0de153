"""AuditEvents, held to the published structure (fhir.resources) and to what IHE BALP 1.1 demands of its profile.

fhir.resources knows R4B; AuditEvent is the same in R4 and R4B, element by element.
"""

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.operationoutcome import OperationOutcome
from tests.audit.recorded import IMAGE, Recorded, record

from bedside.audit.entries import KINDS, Entry, Selection
from bedside.audit.fhir import PROFILE, audit_event
from bedside.stages.audit import show
from bedside_runtime.audit import record as bodies
from bedside_runtime.audit.chain import Record

Event = dict[str, Any]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def entries(log: Recorded) -> list[Entry]:
    found: list[Entry] = []
    show(log.folder, found.append, selection=Selection(kinds=frozenset(KINDS)))
    return found


def events(entries: list[Entry], kind: str) -> list[Event]:
    return [made for item in entries if item.kind == kind if (made := audit_event(item)) is not None]


def code(coding: Event) -> str:
    return f"{coding['system'].rpartition('/')[2]}#{coding['code']}"


def slices(of: list[Event], kind: Callable[[Event], Event], wanted: str) -> list[Event]:
    return [item for item in of if code(kind(item)) == wanted]


def test_every_event_has_the_published_structure(entries: list[Entry]) -> None:
    made = [event for item in entries if (event := audit_event(item)) is not None]
    assert len(made) == 22
    for event in made:
        read = AuditEvent.model_validate(event)
        assert json.loads(read.model_dump_json()).keys() == event.keys()
        for contained in event.get("contained", ()):
            OperationOutcome.model_validate(contained)
        _has_what_is_required(event)


def _has_what_is_required(event: Event) -> None:
    """Cardinalities and required bindings of R4, which fhir.resources does not look at."""
    assert event.keys() >= {"type", "recorded", "agent", "source"}
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", event["id"])
    assert event["action"] in tuple("CRUDE")
    assert event["outcome"] in ("0", "4", "8", "12")
    assert event["agent"]
    assert all(isinstance(agent["requestor"], bool) for agent in event["agent"])
    assert event["source"]["observer"]
    for entity in event["entity"]:
        assert entity["type"]["code"]
        assert all(detail["type"] and detail["valueString"] for detail in entity.get("detail", ()))


def test_the_structure_is_looked_at(entries: list[Entry]) -> None:
    event = events(entries, "prediction")[0]
    for wrong in ({"agent": [{}]}, {"recorded": "yesterday"}, {"source": {}}, {"mood": "good"}, {"outcome": 0}):
        with pytest.raises(ValueError):
            AuditEvent.model_validate(event | wrong)


def test_predictions_keep_to_the_query_profile_of_ihe(entries: list[Entry]) -> None:
    found = events(entries, "prediction")
    assert len(found) == 10
    for event in found:
        assert event["meta"]["profile"] == [PROFILE]
        assert code(event["type"]) == "audit-event-type#rest"
        searches = {f"restful-interaction#{name}" for name in ("search", "search-type", "search-system")}
        assert len([item for item in event["subtype"] if code(item) in searches]) == 1
        assert (event["action"], event["outcome"]) == ("E", "0")
        _agents(event)
        _entities(event)


def _agents(event: Event) -> None:
    def kind(agent: Event) -> Event:
        (coding,) = agent["type"]["coding"]
        return dict(coding)

    assert len(event["agent"]) >= 2
    for role in ("DCM#110153", "DCM#110152"):
        (agent,) = slices(event["agent"], kind, role)
        assert agent["who"]
        assert agent["network"]
        assert "media" not in agent


def _entities(event: Event) -> None:
    def kind(entity: Event) -> Event:
        return dict(entity["type"])

    (transaction,) = slices(event["entity"], kind, "BasicAuditEntityType#XrequestId")
    assert transaction["what"]["identifier"]["value"].startswith("r-")
    (query,) = slices(event["entity"], kind, "audit-entity-type#2")
    assert code(query["role"]) == "object-role#24"
    assert query["query"]
    assert not {"what", "lifecycle", "detail", "name"} & query.keys()  # sev-1: a name or a query, not both


def test_what_was_asked_and_answered_is_there_and_no_value_of_a_patient(entries: list[Entry]) -> None:
    entry = next(item for item in entries if item.line.body.get("request") == "r-03")
    event = audit_event(entry)
    assert event is not None
    client, server = event["agent"]
    assert client["who"] == {"identifier": {"value": "ward-4"}}
    assert server["network"] == {"address": "icu-0", "type": "1"}
    transaction, query, model = event["entity"]
    assert transaction["what"]["identifier"]["value"] == "r-03"
    assert json.loads(base64.b64decode(query["query"])) == entry.line.body
    assert model["what"]["identifier"]["value"] == "sha256:" + "ab" * 32
    assert model["detail"] == [
        {"type": "image", "valueString": IMAGE},
        {"type": "output[0].value", "valueString": "0.5"},
        {"type": "output[0].band", "valueString": "high"},
        {"type": "output[0].flag", "valueString": "missing lactate"},
        {"type": "output[1].value", "valueString": "0.125"},
        {"type": "output[1].band", "valueString": "low"},
    ]
    assert "Emergency" not in json.dumps(event)


def test_a_caller_whom_nobody_authenticated_is_no_identity(entries: list[Entry]) -> None:
    event = events(entries, "prediction")[2]
    assert event["agent"][0]["who"] == {"display": "not authenticated"}


@pytest.mark.parametrize(
    ("status", "outcome", "issue"),
    [
        (422, "4", "invalid"),
        (401, "4", "login"),
        (413, "4", "too-long"),
        (503, "8", "transient"),
        (500, "8", "exception"),
    ],
)
def test_a_refusal_fails_with_its_reason_and_claims_no_profile_of_successes(
    entries: list[Entry], status: int, outcome: str, issue: str
) -> None:
    entry = next(item for item in entries if item.kind == "refusal")
    refusal = bodies.Refusal("r-9", None, status, "some-code", 5)
    event = audit_event(Entry(entry.segment, entry.genesis, entry.line, refusal))
    assert event is not None
    AuditEvent.model_validate(event)
    assert "meta" not in event
    assert (event["outcome"], event["outcomeDesc"]) == (outcome, "some-code")
    (contained,) = event["contained"]
    assert contained["issue"][0]["code"] == issue
    assert event["entity"][-1]["what"]["reference"] == f"#{contained['id']}"


def test_starts_and_stops_are_application_activity_as_dicom_names_it(entries: list[Entry]) -> None:
    changes = [*events(entries, "lifecycle"), *events(entries, "end")]
    named = [[code(item) for item in event["subtype"]] for event in changes]
    assert {code(event["type"]) for event in changes} == {"DCM#110100"}
    assert named[:3] == [["DCM#110120", "event#start"], ["event#ready"], ["event#drain"]]
    assert named[-1] == ["DCM#110121", "event#stop"]


def test_what_only_proves_the_log_is_no_event(entries: list[Entry]) -> None:
    for item in entries:
        if item.kind in ("genesis", "checkpoint"):
            assert audit_event(item) is None
    first = entries[0]
    for body in (bodies.Heartbeat(ready=True), bodies.End("rotation")):
        assert audit_event(Entry(first.segment, first.genesis, first.line, body)) is None


def test_a_record_gives_the_same_event_whenever_it_is_exported(entries: list[Entry]) -> None:
    ids = [event["id"] for item in entries if (event := audit_event(item)) is not None]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(item.line, Record) for item in entries)
    assert ids[0] in {item.line.hash for item in entries}
