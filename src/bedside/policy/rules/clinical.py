"""What serving code does with a patient's values: where they go, and what is predicted on in their place."""

import ast
import re
from collections.abc import Iterator

from bedside.policy.applications import Application, dotted, keyword, name_of, text_of
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.serving import handlers, own_nodes

_CLINICAL = re.compile(
    r"(?i)\b(patient|mrn|nhs_?number|dob|birth|age|sex|gender|heart_?rate|systolic|diastolic|spo2|lactate|creatinine|glucose|"
    r"temperature|respiratory|sodium|potassium|diagnos\w*|icd\w*)(_?id)?\b"
)
_LOGGERS = ("logger", "logging", "log", "_logger", "LOGGER")


def patient_in_url(picture: Picture) -> Iterator[Hit]:
    """A query string stands in every access log, proxy and browser history on the way."""
    for app in picture.applications:
        for route, function in handlers(app):
            if "GET" not in route.methods or route.health:
                continue
            named = [arg.arg for arg in function.args.args if _CLINICAL.search(arg.arg)]
            in_path = _CLINICAL.findall(" ".join(re.findall(r"\{(\w+)", route.path)))
            if named and (route.predicts or in_path or len(named) > 1 or "patient" in named[0]):
                yield Hit(app.at(function), f"{function.name} takes {', '.join(named[:3])} in the address")


def patient_in_logs(picture: Picture) -> Iterator[Hit]:
    """What is logged leaves the reach of whatever protects the record."""
    for app in picture.applications:
        for route, function in handlers(app):
            inputs = {
                arg.arg for arg in function.args.args if arg.arg not in ("self", "response", "request_id", "settings")
            }
            if not route.predicts or "POST" not in route.methods:
                continue
            for node in own_nodes(function):
                if isinstance(node, ast.Call) and _logs(node) and _mentions(node, inputs):
                    yield Hit(app.at(node), f"{function.name} writes its inputs to the log")


def _logs(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id == "print"
    return isinstance(call.func, ast.Attribute) and dotted(call.func.value).split(".")[-1] in _LOGGERS


def _mentions(call: ast.Call, names: set[str]) -> bool:
    parts = [*call.args, *(item.value for item in call.keywords)]
    for part in parts:
        for node in ast.walk(part):
            whole = isinstance(node, ast.Name) and node.id in names and not _only_attribute(part, node)
            called = isinstance(node, ast.Call) and name_of(node.func) in (
                "dict",
                "model_dump",
                "json",
                "model_dump_json",
            )
            if whole or (called and any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))):
                return True
    return False


def _only_attribute(part: ast.expr, name: ast.Name) -> bool:
    """Whether only its length or an id of it is written."""
    for node in ast.walk(part):
        if (
            isinstance(node, ast.Attribute)
            and node.value is name
            and node.attr in ("id", "request_id", "state", "headers", "method", "url")
        ):
            return True
        if isinstance(node, ast.Call) and name_of(node.func) in ("len", "type") and name in node.args:
            return True
    return False


def invented_answer(picture: Picture) -> Iterator[Hit]:
    """A prediction that failed and is answered all the same: nobody can tell it from a real one."""
    for app in picture.applications:
        for route, function in handlers(app):
            for handler in (node for node in own_nodes(function) if isinstance(node, ast.ExceptHandler)):
                returned = [node for node in ast.walk(handler) if isinstance(node, ast.Return)]
                for node in returned if route.predicts else ():
                    if isinstance(node.value, ast.Dict) and _has_number(node.value):
                        yield Hit(app.at(node), f"{function.name} answers a made-up prediction when predicting failed")


def _has_number(answer: ast.Dict) -> bool:
    named = zip(answer.keys, answer.values, strict=True)
    return any(
        isinstance(value, ast.Constant)
        and isinstance(value.value, int | float)
        and re.search(r"(?i)predict|risk|score|prob|class|value", text_of(key) or "")
        for key, value in named
    )


def silent_imputation(picture: Picture) -> Iterator[Hit]:
    """A missing measurement that is filled in while serving is a patient who was never measured."""
    for app in picture.applications:
        for call in app.calls:
            name = name_of(call.func)
            zero = bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value in (0, 0.0)
            if name == "nan_to_num" or (name == "fillna" and zero):
                yield Hit(app.at(call), "missing measurements are replaced by a number while serving")


def default_measurement(picture: Picture) -> Iterator[Hit]:
    """A clinical input with a default is predicted on although nobody sent it."""
    for app, field, name in _measurements(app_list=picture.applications):
        default = _default(field.value)
        if (
            isinstance(default, ast.Constant)
            and isinstance(default.value, int | float)
            and not isinstance(default.value, bool)
        ):
            yield Hit(app.at(field), f"the input {name} is taken as {default.value} when it is missing")


def unbounded_measurement(picture: Picture) -> Iterator[Hit]:
    """Without bounds, a unit error (°F for °C, kg for lb) is predicted on like any other value."""
    for app, field, name in _measurements(app_list=picture.applications):
        annotation = ast.dump(field.annotation)
        given = ast.dump(field.value) if field.value is not None else ""
        bounded = any(f"arg='{word}'" in annotation + given for word in ("ge", "gt", "le", "lt", "interval"))
        if not bounded and re.search(r"id='(float|int|Decimal)'", annotation):
            yield Hit(app.at(field), f"the input {name} takes any number")


def _measurements(app_list: tuple[Application, ...]) -> Iterator[tuple[Application, ast.AnnAssign, str]]:
    """Fields of the models that prediction handlers take."""
    for app in app_list:
        taken = {
            name_of(arg.annotation)
            for r, f in handlers(app)
            if r.predicts
            for arg in f.args.args
            if arg.annotation is not None
        }
        for node in app.nodes:
            if isinstance(node, ast.ClassDef) and node.name in taken:
                for field in node.body:
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                        yield app, field, field.target.id


def _default(value: ast.expr | None) -> ast.expr | None:
    if isinstance(value, ast.Call) and name_of(value.func) == "Field":
        return value.args[0] if value.args else keyword(value, "default")
    return value
