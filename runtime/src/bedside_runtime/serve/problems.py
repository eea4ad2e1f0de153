"""Errors as they leave the process: RFC 9457 problem documents with a fixed code and nothing of the request.

Domain errors know no HTTP status; the one table here gives it to them.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec
from starlette.responses import Response

from bedside_runtime.errors import AuditUnavailable, BedsideRuntimeError, Overloaded
from bedside_runtime.inputs import InvalidInputs, Violation
from bedside_runtime.serve.tracing.current import trace_id

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"
"""Seconds after which a caller may ask a server again that is not ready."""

TITLES: Final = MappingProxyType(
    {
        "audit-unavailable": "the audit log takes no record, so nobody is answered",
        "authentication-unavailable": "this server cannot find out now who asks, so nobody is answered",
        "bad-deadline": "the deadline header holds no time",
        "bad-json": "the body is not the JSON that is accepted here",
        "bad-request": "this is not HTTP as it is accepted here",
        "body-timeout": "the body did not arrive in time",
        "body-too-large": "the body is larger than this release takes",
        "conflicting-body": "the body must hold either inputs or instances, and nothing else",
        "deadline-exceeded": "there was no answer before the deadline",
        "empty-body": "the body is empty",
        "forbidden": "the caller is known, and may not ask this",
        "head-timeout": "the head of the request did not arrive in time",
        "head-too-large": "the head of the request is larger than this server takes",
        "internal-error": "the server could not answer; the request id finds the entry in its log",
        "invalid-inputs": "the inputs are not what this model declares",
        "invalid-tensors": "the tensors are not what this model declares",
        "media-type": "the body must be application/json in UTF-8, not compressed",
        "method-not-allowed": "this route does not know that method",
        "not-found": "there is no such route",
        "not-ready": "this server does not answer predictions now; the reason code says why",
        "output-invalid": "the model answered something that its declared output cannot be",
        "overloaded": "as many requests are in flight as this server takes",
        "record-too-large": "the request is larger than one audit record holds",
        "too-many-connections": "as many connections are open as this server takes",
        "too-many-instances": "the request holds more instances than this release takes",
        "unauthenticated": "the request does not show in an accepted way who asks",
        "unknown-model": "this server serves no model of that name and version",
    }
)
"""Every problem there is, with its one sentence."""

STATUS: Final = MappingProxyType(
    {
        "audit-unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
        "authentication-unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
        "bad-deadline": HTTPStatus.BAD_REQUEST,
        "bad-json": HTTPStatus.BAD_REQUEST,
        "bad-request": HTTPStatus.BAD_REQUEST,
        "body-timeout": HTTPStatus.REQUEST_TIMEOUT,
        "body-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "conflicting-body": HTTPStatus.UNPROCESSABLE_ENTITY,
        "deadline-exceeded": HTTPStatus.GATEWAY_TIMEOUT,
        "empty-body": HTTPStatus.BAD_REQUEST,
        "forbidden": HTTPStatus.FORBIDDEN,
        "head-timeout": HTTPStatus.REQUEST_TIMEOUT,
        "head-too-large": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "internal-error": HTTPStatus.INTERNAL_SERVER_ERROR,
        "invalid-inputs": HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-tensors": HTTPStatus.UNPROCESSABLE_ENTITY,
        "media-type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "method-not-allowed": HTTPStatus.METHOD_NOT_ALLOWED,
        "not-found": HTTPStatus.NOT_FOUND,
        "not-ready": HTTPStatus.SERVICE_UNAVAILABLE,
        "output-invalid": HTTPStatus.INTERNAL_SERVER_ERROR,
        "overloaded": HTTPStatus.SERVICE_UNAVAILABLE,
        "record-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-many-connections": HTTPStatus.SERVICE_UNAVAILABLE,
        "too-many-instances": HTTPStatus.UNPROCESSABLE_ENTITY,
        "unauthenticated": HTTPStatus.UNAUTHORIZED,
        "unknown-model": HTTPStatus.NOT_FOUND,
    }
)


class Problem(Exception):
    """A request that is answered with a problem document.

    Attributes:
        code: One of ``TITLES``.
        detail: A further sentence made from the contract alone.
        violations: What is wrong with which input.
        members: Further members of the document, fixed words only.
        headers: Headers of the answer.
        recorded_as: The reason code that the audit log gets; ``code`` where nothing else is said.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        violations: Sequence[Violation] = (),
        members: Mapping[str, str] = MappingProxyType({}),
        headers: Mapping[str, str] = MappingProxyType({}),
        recorded_as: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.violations = tuple(violations)
        self.members = dict(members)
        self.headers = dict(headers)
        self.recorded_as = recorded_as or code


def not_ready(reason: str) -> Problem:
    """Return the problem of a server that is not ready, with its reason code."""
    return Problem("not-ready", members={"reason": reason}, headers={"retry-after": RETRY_AFTER})


def from_domain(error: BedsideRuntimeError) -> Problem:
    """Return the problem for an error of the domain; its message stays here."""
    if isinstance(error, InvalidInputs):
        return Problem("invalid-inputs", violations=error.violations)
    if isinstance(error, (AuditUnavailable, Overloaded)):
        return Problem(error.code, headers={"retry-after": RETRY_AFTER})
    return Problem(error.code if error.code in TITLES else "internal-error")


def document(problem: Problem, request_id: str) -> bytes:
    """Return the problem document."""
    said: dict[str, Any] = {
        "type": f"urn:bedside:problem:{problem.code}",
        "title": TITLES[problem.code],
        "status": STATUS[problem.code].value,
        "code": problem.code,
        "request_id": request_id,
        "error": TITLES[problem.code],  # where clients of the Open Inference Protocol look
        **problem.members,
    }
    if (trace := trace_id()) is not None:
        said["trace_id"] = trace
    if problem.detail:
        said["detail"] = problem.detail
    if problem.violations:
        said["violations"] = problem.violations
    return msgspec.json.encode(said)


def response(problem: Problem, request_id: str) -> Response:
    """Return ``problem`` as an HTTP response."""
    return Response(document(problem, request_id), STATUS[problem.code].value, problem.headers, MEDIA_TYPE)
