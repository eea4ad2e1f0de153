"""What an API server's refusals mean, and what to do about them. Pure: a status document to an error.

The messages of the API server name objects, fields and managers; bedside's own objects hold no secret and no
patient's value.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from bedside.errors import AdmissionRefused, BedsideError, ClusterDenied, ClusterFailed, ClusterInterrupted, FieldsTaken
from bedside.kube.cluster.requests import Request

BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST: Final = 600
_CREDENTIAL: Final = re.compile(r"[Bb]earer\s+\S+|eyJ[\w-]{10,}\.[\w-]+\.[\w-]+")


def status(body: bytes) -> dict[str, Any]:
    """Return the Status document (meta/v1) in an answer, an empty one where it holds none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and value.get("kind") == "Status" else {}


def message(body: bytes) -> str:
    """Return what the API server says, on one line, without anything that looks like a credential."""
    said = " ".join(str(status(body).get("message", "")).split())
    return _CREDENTIAL.sub("[...]", said)[:_LONGEST]


def refusal(code: int, headers: Mapping[str, str], body: bytes, request: Request, where: str) -> BedsideError:
    """Return the error for an answer that is none hoped for.

    Args:
        code: HTTP status.
        headers: Of the answer.
        body: A Status document, or anything.
        request: What was asked.
        where: Context or address, for people.
    """
    said, reason = message(body), str(status(body).get("reason", ""))
    tail = f": {said}" if said else f": status {code}"
    if code == 401:
        return ClusterDenied(
            f"{where} does not know who asks", remedy="Log in again; `kubectl auth whoami` says as whom."
        )
    if code == 403 and not _forbidden_by_rights(said):
        return _policy(said, request)
    if code == 403:
        return ClusterDenied(f"this account may not {request.doing} in {where}{tail}")
    if code == 409 and _managers(body):
        return FieldsTaken(f"{request.doing.removeprefix('take ')} has fields of {_managers(body)}{tail}")
    if code in BUSY and reason != "Timeout" and "admission webhook" not in said:
        error = ClusterInterrupted(f"{where} could not {request.doing}{tail}")
        error.after = _after(headers, body)
        return error
    if "admission webhook" in said or code in (400, 413, 422):
        return AdmissionRefused(f"the cluster does not {request.doing}{tail}")
    failed = ClusterFailed(f"{where} would not {request.doing}{tail}")
    failed.status = code
    return failed


def _policy(said: str, request: Request) -> AdmissionRefused:
    if "exceeded quota" in said:
        return AdmissionRefused(
            f"the namespace has no room to {request.doing}: {said}",
            remedy="Lower [deploy.resources] or [deploy.replicas], or have the ResourceQuota raised.",
        )
    return AdmissionRefused(f"the cluster does not {request.doing}: {said}")


def _forbidden_by_rights(said: str) -> bool:
    """Whether rights (RBAC) are missing; admission answers 403 as well, without naming a user."""
    return not said or bool(re.search(r"(?:User|cannot) .*cannot|cannot [a-z]+ resource|cannot [a-z]+ path", said))


def _managers(body: bytes) -> str:
    causes = (status(body).get("details") or {}).get("causes") or ()
    found = {
        match[1]
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
        if (match := re.search(r'conflict with "([^"]+)"', str(cause.get("message", ""))))
    }
    return ", ".join(sorted(found))


def _after(headers: Mapping[str, str], body: bytes) -> float:
    said = headers.get("retry-after", "") or str((status(body).get("details") or {}).get("retryAfterSeconds", ""))
    return float(said) if re.fullmatch(r"[0-9]{1,6}", said) else 0.0
