"""Answers of success: of those who never say no, and of those whose body alone does."""

import ast
import re
from collections.abc import Iterator

from bedside.policy.applications import Application, Function, Route, dotted, keyword, name_of, text_of
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.serving import GUARDS, handlers, own_nodes

_BODIES = ("jsonify", "dict", "JSONResponse", "ORJSONResponse", "UJSONResponse")
_CODES = ("code", "status", "statuscode", "httpstatus", "httpcode")
_WHETHER = ("ready", "readiness", "healthy", "ok", "up", "loaded", "modelloaded", "modelready")
_STATES = ("status", "state", "ready", "readiness", "health", "message", "detail", "model")
_NO = re.compile(
    r"(?i)\b(not[ _-]?(ready|loaded|ok|healthy|available)|unready|unavailable|unhealthy|down|loading|starting|"
    r"initiali[sz]ing|warming[ _-]?up|fail(ed|ing|ure)?|error)\b"
)


def status_in_body(picture: Picture) -> Iterator[Hit]:
    """Probes and load balancers read the status line: an answer of 200 is yes, whatever its body says."""
    for app in picture.applications:
        for route, handler in handlers(app):
            for answer in denied(app, route, handler):
                yield Hit(app.at(answer), f"{handler.name} answers 200, and only the body says that it is not so")


def denied(app: Application, route: Route, handler: Function) -> list[ast.expr]:
    """Bodies that a handler returns with success and that say no: by a code, in readiness also in words."""
    if _sets_status(handler):
        return []
    returned = [node.value for node in own_nodes(handler) if isinstance(node, ast.Return) and node.value is not None]
    refuses = app.framework == "flask" and any(isinstance(value, ast.Tuple) for value in returned)
    refuses = refuses or any(isinstance(node, ast.Raise) or _aborts(node) for node in ast.walk(handler))
    refuses = refuses or any(_status(value) is not None for value in returned if isinstance(value, ast.Call))
    ready = route.health == "readiness"
    return [
        value
        for value in returned
        if any(
            _is_code(key, part) or (ready and (_is_no(key, part) or (not refuses and _is_asked(key, part))))
            for key, part in _parts(value)
        )
    ]


def _sets_status(handler: Function) -> bool:
    """Whether it sets the status of the answer itself, or its route has one of its own."""
    assigned = (target for node in ast.walk(handler) if isinstance(node, ast.Assign) for target in node.targets)
    named = (call for call in handler.decorator_list if isinstance(call, ast.Call))
    return any(isinstance(one, ast.Attribute) and one.attr.startswith("status") for one in assigned) or any(
        keyword(call, "status_code") is not None for call in named
    )


def _aborts(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) in ("abort", "make_response")


def _status(call: ast.Call) -> ast.expr | None:
    second = call.args[1] if len(call.args) > 1 and name_of(call.func).endswith("Response") else None
    return keyword(call, "status_code") or keyword(call, "status") or second


def _parts(answer: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Keys of a body that is answered with success, each with its value; none where it has a status of its own."""
    if isinstance(answer, ast.Dict):
        for key, value in zip(answer.keys, answer.values, strict=True):
            yield _plain(text_of(key) or ""), value
    if not isinstance(answer, ast.Call) or name_of(answer.func) not in _BODIES:
        return
    response = name_of(answer.func).endswith("Response")
    if not (response and _status(answer)):
        body = keyword(answer, "content") if response and not answer.args else next(iter(answer.args), None)
        yield from _parts(body) if isinstance(body, ast.Dict) else ()
        yield from ((_plain(item.arg or ""), item.value) for item in answer.keywords if not response)


def _plain(key: str) -> str:
    return re.sub(r"[_\s-]", "", key).lower()


def _choices(value: ast.expr) -> list[ast.expr]:
    """What a value may be: both sides of a conditional expression."""
    return [*_choices(value.body), *_choices(value.orelse)] if isinstance(value, ast.IfExp) else [value]


def _is_code(key: str, value: ast.expr) -> bool:
    return key in _CODES and any(_is_failure(one) for one in _choices(value))


_FAILURES = re.compile(r"(^|\.)HTTP_[45]\d\d_|(^|\.)HTTPStatus\.(SERVICE_UNAVAILABLE|INTERNAL_SERVER_ERROR)$")


def _is_failure(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return type(value.value) is int and 400 <= value.value < 600
    name = dotted(value.value if isinstance(value, ast.Attribute) and value.attr == "value" else value)
    return _FAILURES.search(name) is not None


def _is_no(key: str, value: ast.expr) -> bool:
    """Whether a part of readiness says no, always or in one case."""
    for one in _choices(value):
        if key in _WHETHER and isinstance(one, ast.Constant) and one.value is False:
            return True
        if key in _STATES and _NO.search(text_of(one) or ""):
            return True
    return False


def _is_asked(key: str, value: ast.expr) -> bool:
    """Whether a part of readiness is worked out, so that it may be no."""
    negated = isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
    asked = isinstance(value, ast.Call) and name_of(value.func) in ("bool", "all", "any")
    return key in _WHETHER and (negated or asked or isinstance(value, ast.Compare | ast.BoolOp))


def always_ready(picture: Picture) -> Iterator[Hit]:
    """A readiness answer that looks at nothing says ready while the model is missing or broken."""
    for app in picture.applications:
        for route, function in handlers(app):
            body = [
                node
                for node in function.body
                if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            ]
            depends = any(
                name_of(node) in GUARDS
                for part in (function.args, *function.decorator_list)
                for node in ast.walk(part)
                if isinstance(node, ast.Name | ast.Attribute)
            )
            looks = depends or _can_say_no(body) or bool(denied(app, route, function))
            if route.health == "readiness" and body and not looks:
                yield Hit(app.at(function), f"{function.name} answers success whatever the model does")


_ANSWERS = ("JSONResponse", "Response", "PlainTextResponse", "ORJSONResponse", "jsonify", "dict", "bool", "len", "str")
_PASSING = range(200, 400)


def _can_say_no(body: list[ast.stmt]) -> bool:
    """Whether a handler may answer anything but success: it raises, sets a status, or asks somebody else."""
    for node in (child for statement in body for child in ast.walk(statement)):
        if isinstance(node, ast.Raise | ast.Assert | ast.Subscript | ast.Tuple):
            return True  # what is missing raises, too; a tuple is a status in Flask and a rule of its own elsewhere
        if isinstance(node, ast.Call) and name_of(node.func) not in _ANSWERS:
            return True
        status = _status(node) if isinstance(node, ast.Call) else None
        if status is not None and not (isinstance(status, ast.Constant) and status.value in _PASSING):
            return True
        if isinstance(node, ast.Assign) and any(name_of(target) == "status_code" for target in node.targets):
            return True
    return False
