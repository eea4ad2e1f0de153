"""Records as FHIR R4 AuditEvents, after the Basic Audit Log Patterns of IHE (BALP). Pure.

A prediction is, to that profile, a query that was executed: `IHE.BasicAudit.Query`_. Its ``query`` is the record's own
body, in which inputs are a keyed digest or sealed; never a value of a patient. BALP profiles what succeeded; refusals
follow the same pattern with an outcome of their own and claim no profile. The log holds no network address of
clients, which the profile wants: the element says that it is absent.

.. _IHE.BasicAudit.Query: https://profiles.ihe.net/ITI/BALP/StructureDefinition-IHE.BasicAudit.Query.html
"""

import base64
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias, assert_never

import msgspec

from bedside.audit.entries import Entry
from bedside_runtime.audit import record

Resource: TypeAlias = dict[str, Any]

PROFILE: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Query"
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_ENTITY: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_OWN: Final = "https://bedside.dev/fhir/audit"
"""Leads the names of what no standard names: kinds of records, release and image digests."""

_SUCCESS, _MINOR_FAILURE, _SERIOUS_FAILURE = "0", "4", "8"
_FIRST_SERVER_ERROR: Final = 500

_ISSUES: Final[Mapping[int, str]] = MappingProxyType(
    {
        401: "login",
        403: "forbidden",
        404: "not-found",
        408: "timeout",
        413: "too-long",
        503: "transient",
        504: "timeout",
    }
)
"""Type of an OperationOutcome's issue by HTTP status; ``invalid`` or ``exception`` for any other."""


def audit_event(entry: Entry) -> Resource | None:
    """Return ``entry`` as an AuditEvent; ``None`` where it is about the log alone."""
    body = entry.body
    match body:
        case record.Prediction():
            return _rest(entry, body.caller, _SUCCESS) | {
                "meta": {"profile": [PROFILE]},
                "entity": [_transaction(body.request), _query(entry), _model(entry, _outputs(body.outputs))],
            }
        case record.Refusal():
            outcome = _SERIOUS_FAILURE if body.status >= _FIRST_SERVER_ERROR else _MINOR_FAILURE
            return _rest(entry, body.caller, outcome) | {
                "outcomeDesc": body.code,
                "contained": [_operation_outcome(body)],
                "entity": [_transaction(body.request), _query(entry), _model(entry, ()), _why()],
            }
        case record.Lifecycle():
            return _application(entry, body.event, body.reason)
        case record.End():
            return _application(entry, "stop", None) if body.reason == "stop" else None
        case record.Genesis() | record.Heartbeat() | record.Checkpoint():
            return None
        case _:
            assert_never(body)


def _event(entry: Entry, outcome: str) -> Resource:
    """What every event of ours has. The record's hash names it, so that two exports give the same resource."""
    return {
        "resourceType": "AuditEvent",
        "id": entry.line.hash,
        "recorded": entry.line.time,
        "action": "E",
        "outcome": outcome,
        "source": _source(entry.genesis.identity),
    }


def _rest(entry: Entry, caller: str | None, outcome: str) -> Resource:
    return _event(entry, outcome) | {
        "type": _coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest", "Restful Operation"),
        "subtype": [
            _coding("http://hl7.org/fhir/restful-interaction", "search", "search"),
            _coding(f"{_OWN}/kind", entry.kind),
        ],
        "agent": [_client(caller), _server(entry.genesis.identity)],
    }


def _application(entry: Entry, event: str, reason: str | None) -> Resource:
    """Start and stop as DICOM names them; what else happens to a process under our own names."""
    codes = {"start": ("110120", "Application Start"), "stop": ("110121", "Application Stop")}
    named = [_coding(_DCM, *codes[event])] if event in codes else []
    agent = _agent("110150", "Application", {"display": entry.genesis.identity.pod}, requestor=False)
    return (
        _event(entry, _SUCCESS)
        | {
            "type": _coding(_DCM, "110100", "Application Activity"),
            "subtype": [*named, _coding(f"{_OWN}/event", event)],
            "agent": [agent],
            "entity": [_model(entry, ())],
        }
        | ({"outcomeDesc": reason} if reason else {})
    )


def _client(caller: str | None) -> Resource:
    who = {"identifier": {"value": caller}} if caller else {"display": "not authenticated"}
    absent = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    return _agent("110153", "Source Role ID", who, requestor=True) | {"network": {"extension": [absent]}}


def _server(identity: record.Identity) -> Resource:
    who = {"identifier": {"value": identity.pod}, "display": f"{identity.model} {identity.version}"}
    return _agent("110152", "Destination Role ID", who, requestor=False) | {
        "network": {"address": identity.pod, "type": "1"}
    }


def _agent(code: str, display: str, who: Resource, *, requestor: bool) -> Resource:
    return {"type": {"coding": [_coding(_DCM, code, display)]}, "who": who, "requestor": requestor}


def _source(identity: record.Identity) -> Resource:
    return {
        "observer": {"identifier": {"system": f"{_OWN}/boot", "value": identity.boot}, "display": identity.pod},
        "type": [_coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")],
    }


def _transaction(request: str) -> Resource:
    kind = _coding("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId")
    return {"type": kind, "what": {"identifier": {"value": request}}}


def _query(entry: Entry) -> Resource:
    kept = msgspec.json.encode(entry.line.body, order="deterministic")
    return {
        "type": _coding(_ENTITY, "2", "System Object"),
        "role": _coding("http://terminology.hl7.org/CodeSystem/object-role", "24", "Query"),
        "description": f"record {entry.line.seq} of the log of {entry.genesis.identity.pod}",
        "query": base64.b64encode(kept).decode(),
    }


def _model(entry: Entry, details: Sequence[Resource]) -> Resource:
    identity = entry.genesis.identity
    image = [_detail("image", identity.image)] if identity.image else []
    made: Resource = {
        "what": {"identifier": {"system": f"{_OWN}/release", "value": identity.release}},
        "type": _coding(_ENTITY, "4", "Other"),
        "name": f"{identity.model} {identity.version}",
    }
    return made | ({"detail": [*image, *details]} if image or details else {})


def _outputs(outputs: Sequence[record.Output]) -> list[Resource]:
    found = []
    for number, output in enumerate(outputs):
        found.append(_detail(f"output[{number}].value", msgspec.json.encode(output.value).decode()))
        if output.band is not None:
            found.append(_detail(f"output[{number}].band", output.band))
        found += [_detail(f"output[{number}].flag", f"{flag.code} {flag.input}") for flag in output.flags]
    return found


def _operation_outcome(refusal: record.Refusal) -> Resource:
    other = "exception" if refusal.status >= _FIRST_SERVER_ERROR else "invalid"
    issue = {
        "severity": "error",
        "code": _ISSUES.get(refusal.status, other),
        "details": {"coding": [_coding(f"{_OWN}/code", refusal.code)]},
    }
    return {"resourceType": "OperationOutcome", "id": "outcome", "issue": [issue]}


def _why() -> Resource:
    return {"what": {"reference": "#outcome"}, "type": _coding(_ENTITY, "4", "Other")}


def _detail(kind: str, value: str) -> Resource:
    return {"type": kind, "valueString": value}


def _coding(system: str, code: str, display: str | None = None) -> Resource:
    return {"system": system, "code": code} | ({"display": display} if display else {})
