"""What the API server's refusals are taken for; the texts are those of Kubernetes 1.36."""

import json
from typing import Any

import pytest

from bedside.errors import AdmissionRefused, BedsideError, ClusterDenied, ClusterFailed, ClusterInterrupted, FieldsTaken
from bedside.kube.cluster import refusals
from bedside.kube.cluster.requests import Request

TAKE = Request("PATCH", "/", "take Deployment icu")


def _refusal(code: int, message: str, reason: str = "", details: Any = None, **headers: str) -> BedsideError:
    body = json.dumps({"kind": "Status", "message": message, "reason": reason, "details": details or {}}).encode()
    return refusals.refusal(code, headers, body, TAKE, "ward")


RIGHTS = 'deployments.apps "icu" is forbidden: User "u" cannot patch resource "deployments" in API group "apps"'
QUOTA = 'deployments.apps "icu" is forbidden: exceeded quota: small, requested: count/deployments=1'
POLICY = 'pods "icu" is forbidden: violates PodSecurity "restricted:latest": privileged'


@pytest.mark.parametrize(
    ("code", "message", "reason", "kind"),
    [
        (401, "Unauthorized", "Unauthorized", ClusterDenied),
        (403, RIGHTS, "Forbidden", ClusterDenied),
        (403, QUOTA, "Forbidden", AdmissionRefused),
        (403, POLICY, "Forbidden", AdmissionRefused),
        (400, 'admission webhook "p.example.org" denied the request: no', "BadRequest", AdmissionRefused),
        (422, 'Deployment.apps "icu" is invalid: spec.selector: field is immutable', "Invalid", AdmissionRefused),
        (500, 'Internal error: failed calling webhook "p": timeout', "InternalError", ClusterInterrupted),
        (500, "etcdserver: leader changed", "", ClusterInterrupted),
        (429, "too many requests", "TooManyRequests", ClusterInterrupted),
        (503, "apiserver is shutting down", "ServiceUnavailable", ClusterInterrupted),
        (404, "the server could not find the requested resource", "NotFound", ClusterFailed),
        (409, "the object has been modified", "Conflict", ClusterFailed),
    ],
)
def test_each_is_taken_for_what_it_is(code: int, message: str, reason: str, kind: type[BedsideError]) -> None:
    error = _refusal(code, message, reason)
    assert type(error) is kind
    assert error.remedy


def test_the_managers_of_contested_fields_are_named() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using apps/v1', "field": ".spec"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd"', "field": ".spec"},
    ]
    error = _refusal(409, "Apply failed with 2 conflicts", "Conflict", {"causes": causes})
    assert isinstance(error, FieldsTaken)
    assert "fields of argocd, kubectl-edit" in str(error)


def test_a_busy_server_says_how_long_to_leave_it_alone() -> None:
    assert _refusal(429, "", "TooManyRequests", None, **{"retry-after": "7"}).after == 7  # type: ignore[attr-defined]
    assert _refusal(429, "", "TooManyRequests", {"retryAfterSeconds": 3}).after == 3  # type: ignore[attr-defined]


def test_nothing_that_looks_like_a_credential_is_passed_on() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
    assert token not in str(_refusal(400, f"bad header Bearer {token}"))
    assert token not in str(_refusal(400, f"bad header {token}"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"kind": "Pod", "message": "x"}', b"\xff"])
def test_what_is_no_status_is_answered_all_the_same(body: bytes) -> None:
    assert "status 418" in str(refusals.refusal(418, {}, body, TAKE, "ward"))
