"""The OpenAPI 3.1 document of one model: its inputs with units and ranges, its answers, its problems. Pure."""

import math
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from bedside_runtime.contract import Contract, Conversion, Input, Output
from bedside_runtime.serve import problems
from bedside_runtime.serve.auth.gate import PROBES

_REF = "#/components/schemas/"
_AUTHENTICATING: Final = (401, 403, 503)


_SCHEMES: Final = MappingProxyType(
    {
        "api-key": {"type": "http", "scheme": "bearer", "description": "An API key, bsk_..., as a bearer token."},
        "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token of the issuer."},
        "mtls": {"type": "mutualTLS", "description": "A client certificate, by its subject alternative names."},
    }
)
"""How callers show who they are, by method."""


def document(contract: Contract) -> dict[str, Any]:
    """Return the document for ``contract``."""
    schemes = {name: _SCHEMES[name] for name in contract.serve.auth.methods if name != "none"}
    described = _document(contract)
    if not schemes:
        return described
    described["components"]["securitySchemes"] = schemes
    described["security"] = [{name: []} for name in schemes]  # one of them is enough
    for path, item in described["paths"].items():
        for operation in item.values():
            if path.encode() in PROBES:
                operation["security"] = []
            else:
                operation["responses"] |= {str(code): _problem(code) for code in _AUTHENTICATING}
    return described


def _document(contract: Contract) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": contract.title, "version": contract.version, "summary": contract.ref},
        "paths": {
            "/predict": {"post": _predict(contract)},
            "/livez": {"get": _probe("Whether the process can make progress.", ok_only=True)},
            "/startupz": {"get": _probe("Whether loading and the golden replay finished.")},
            "/readyz": {"get": _probe("Whether to send patients here; the reason is a fixed code.")},
            "/model": {"get": _get("What runs here: identity, digest, inputs, output, card.")},
        },
        "components": {"schemas": _schemas(contract)},
    }


def _predict(contract: Contract) -> dict[str, Any]:
    body = {"application/json": {"schema": {"$ref": f"{_REF}Request"}}}
    answer = {"application/json": {"schema": {"$ref": f"{_REF}Answer"}}}
    codes = sorted({status.value for status in problems.STATUS.values()} - {401, 403, 404, 405})
    return {
        "operationId": "predict",
        "summary": contract.title,
        "requestBody": {"required": True, "content": body},
        "responses": {"200": {"description": "Every instance is answered.", "content": answer}}
        | {str(code): _problem(code) for code in codes},
    }


def _problem(code: int) -> dict[str, Any]:
    listed = [name for name, status in problems.STATUS.items() if status.value == code]
    schema = {"$ref": f"{_REF}Problem"}
    return {"description": f"Problem: {', '.join(listed)}.", "content": {problems.MEDIA_TYPE: {"schema": schema}}}


def _get(summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {"summary": summary, "responses": {"200": {"description": "Yes.", "content": content}, "503": _problem(503)}}


def _probe(summary: str, *, ok_only: bool = False) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"{_REF}Probe"}}}
    responses = {"200": {"description": "Yes.", "content": content}}
    if not ok_only:
        responses["503"] = {"description": "Not now.", "content": content}
    return {"summary": summary, "responses": responses}


def _schemas(contract: Contract) -> dict[str, Any]:
    required = [item.name for item in contract.inputs if item.missing == "reject"]
    instance = {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {item.name: _input(item) for item in contract.inputs},
    }
    instances = {
        "type": "array",
        "minItems": 1,
        "maxItems": contract.serve.max_instances,
        "items": {"$ref": f"{_REF}Instance"},
    }
    return {
        "Instance": instance,
        "Request": {"oneOf": [_only("inputs", {"$ref": f"{_REF}Instance"}), _only("instances", instances)]},
        "Answer": _answer(contract.output),
        "Probe": _probe_schema(),
        "Problem": _problem_schema(),
    }


def _probe_schema() -> dict[str, Any]:
    flag = {"type": "boolean"}
    schema = _only("status", {"type": "string"}, reason={"type": "string"})
    audit = {"enum": ["none", "open", "space-low", "stalled", "failed", "closed", "answering-unrecorded"]}
    keys = {"enum": ["none", "current", "stale", "unavailable"]}
    return schema | {"properties": schema["properties"] | {"ready": flag, "live": flag, "audit": audit, "keys": keys}}


def _only(name: str, schema: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    properties = {name: schema, **others}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


def _input(item: Input) -> dict[str, Any]:
    described = {"description": _described(item)} if _described(item) else {}
    nullable = item.missing == "allow"
    match item.type:
        case "category":
            return described | {"enum": [*item.categories, None] if nullable else list(item.categories)}
        case "boolean":
            return described | {"type": ["boolean", "null"] if nullable else "boolean"}
        case "number" | "integer":
            return described | _measure(item, nullable=nullable)


def _measure(item: Input, *, nullable: bool) -> dict[str, Any]:
    bare: dict[str, Any] = {"type": item.type}
    if item.valid is not None:
        bare |= {"minimum": item.valid[0], "maximum": item.valid[1]}
    elif item.type == "integer":
        bare |= {"minimum": -(2**53), "maximum": 2**53}
    forms = [bare]
    if item.unit is not None:
        forms.append(_only("value", bare, unit={"const": item.unit}))
    for unit, conversion in sorted(item.conversions.items()):
        converted = {"type": "number", "description": f"converted to {item.unit}, then checked"}
        forms.append(_only("value", converted | _converted_range(item.valid, conversion), unit={"const": unit}))
    if nullable:
        forms.append({"type": "null"})
    extra: dict[str, Any] = {"x-unit": item.unit} if item.unit is not None else {}
    extra |= {"x-expected": list(item.expected)} if item.expected is not None else {}
    return {"oneOf": forms, **extra} if len(forms) > 1 else {**bare, **extra}


def _converted_range(valid: tuple[float, float] | None, conversion: Conversion) -> dict[str, float]:
    """Return the bounds of a value in another unit: the outermost doubles that convert to a valid one."""
    if valid is None:
        return {}
    low, high = sorted(_unconverted(end, conversion) for end in valid)
    return {
        "minimum": _inside(low, math.inf, valid, conversion),
        "maximum": _inside(high, -math.inf, valid, conversion),
    }


def _inside(bound: float, inward: float, valid: tuple[float, float], conversion: Conversion) -> float:
    """Return ``bound``, or the next double where rounding put it outside."""
    return bound if valid[0] <= conversion.apply(bound) <= valid[1] else math.nextafter(bound, inward)


def _unconverted(value: float, conversion: Conversion) -> float:
    return float((Fraction(repr(value)) - Fraction(conversion.offset)) / Fraction(conversion.scale))


def _described(item: Input) -> str:
    unit = f" [{item.unit}]" if item.unit is not None else ""
    code = f" ({item.code})" if item.code is not None else ""
    return f"{item.description}{unit}{code}".strip()


def _answer(output: Output) -> dict[str, Any]:
    value: dict[str, Any] = {"type": "number"}
    if output.type == "probability":
        value |= {"minimum": 0, "maximum": 1}
    elif output.type == "class":
        value = {"type": ["string", "integer", "boolean", "number"]}
    band: dict[str, Any] = {"enum": [band.name for band in output.bands]} if output.bands else {"type": "null"}
    flag = _only("code", {"enum": ["missing", "outside-expected"]}, input={"type": "string"})
    prediction = _only("value", value, band=band, flags={"type": "array", "items": flag})
    text = {"type": "string"}
    release = _only("name", text, version=text, digest=text)
    return _only("id", text, release=release, predictions={"type": "array", "items": prediction})


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    violation = {
        "type": "object",
        "required": ["instance", "input", "code", "message"],
        "properties": {
            "instance": {"type": "integer"},
            "input": {"type": ["string", "null"]},
            "code": text,
            "message": text,
        },
    }
    return {
        "type": "object",
        "description": "RFC 9457; it never holds a value of the request.",
        "required": ["type", "title", "status", "code", "request_id"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "code": {"enum": sorted(problems.TITLES)},
            "request_id": text,
            "trace_id": text,
            "detail": text,
            "reason": text,
            "violations": {"type": "array", "items": violation},
        },
    }
