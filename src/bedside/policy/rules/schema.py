"""What the API server would refuse, by the schemas that the package ``kubernetes-validate`` carries."""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from jsonschema_rs import Draft202012Validator, Registry, ValidationError, ValidationErrorKind

from bedside.policy.kubernetes import KubeObject, place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.yamltree import Node

VERSION = "v1.37.0-local-strict"
"""The newest schemas; versions that are no longer served are a rule of their own."""


def violations(picture: Picture) -> Iterator[Hit]:
    """An unknown field is dropped, a wrong type is refused: neither is what the author meant."""
    for item in picture.objects:
        validator = _validator(item.kind.lower(), _short(item.node.at("apiVersion").text))
        if validator is None or item.kind == "CustomResourceDefinition":  # made by programs, and megabytes long
            continue
        for error in validator.iter_errors(item.node.plain()):
            if item.partial and isinstance(error.kind, ValidationErrorKind.Required):
                continue  # the kustomization adds it
            where = ".".join(str(part) for part in error.instance_path) or "the object"
            yield Hit(place(_node(item, error)), f"{item.title}: {where} {_complaint(error)}")


def has_schema(item: KubeObject) -> bool:
    """Whether Kubernetes itself knows the kind."""
    return _validator(item.kind.lower(), _short(item.node.at("apiVersion").text)) is not None


def _node(item: KubeObject, error: ValidationError) -> Node:
    node = item.node.at(*error.instance_path)
    match error.kind:
        case ValidationErrorKind.AdditionalProperties(unexpected=[name, *_]):
            return node.at(name)
        case _:
            return node


def _complaint(error: ValidationError) -> str:
    """What is wrong, without the value: it may be a credential."""
    match error.kind:
        case ValidationErrorKind.AdditionalProperties(unexpected=names):
            return f"has no field {', '.join(names)}"
        case ValidationErrorKind.Required(property=name):
            return f"lacks the field {name}"
        case ValidationErrorKind.Type():
            return "is of another type than the API has"
        case _:
            return "is not of a form that the API server accepts"


def _short(api_version: str) -> str:
    """``apps/v1`` as the schema files are named, ``apps-v1``."""
    return re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)


@cache
def _schemas() -> Path:
    """Where they lie; the package is found, not imported: its own validator would take seconds to be ready."""
    spec = find_spec("kubernetes_validate")
    places = spec.submodule_search_locations if spec is not None else None
    if not places:
        raise ModuleNotFoundError("kubernetes_validate", name="kubernetes_validate")
    return Path(places[0], "kubernetes-json-schema", VERSION)


@cache
def _validator(kind: str, version: str) -> Draft202012Validator | None:
    if not re.fullmatch(r"[a-z0-9]+", kind) or not re.fullmatch(r"[a-z0-9-]+", version):
        return None
    try:
        schema = json.loads((_schemas() / f"{kind}-{version}.json").read_text())
    except FileNotFoundError:
        return None
    return Draft202012Validator(schema, registry=_registry())


@cache
def _registry() -> Registry:
    definitions = json.loads((_schemas() / "_definitions.json").read_text())
    return Registry([(definitions["$id"], definitions)])
