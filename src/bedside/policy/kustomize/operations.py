"""JSON Patch (RFC 6902) on a YAML tree: add, replace, remove and test."""

from bedside.policy.yamltree import Node

MAX_STEPS = 64
"""Longest path that is followed."""


class DoesNotApply(ValueError):
    """An operation names a place that is not there, or tests for what is not there."""

    def __init__(self, operation: Node, message: str) -> None:
        super().__init__(message)
        self.operation = operation


def applied(document: Node, operations: Node) -> Node:
    """``document`` after every operation.

    Raises:
        DoesNotApply: kustomize would stop at one of them.
    """
    for operation in operations.items():
        document = _applied(document, operation)
    return document


def _applied(document: Node, operation: Node) -> Node:
    verb, path = operation.at("op").text, operation.at("path").text
    steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])
    if verb not in ("add", "replace", "remove", "test") or (path and path[0] != "/") or len(steps) > MAX_STEPS:
        raise DoesNotApply(operation, f"{verb or 'an operation without op'} {path} is not one that is followed")
    if verb == "test":
        if _found(document, steps).plain() != operation.at("value").plain():
            raise DoesNotApply(operation, f"the test of {path} fails")
        return document
    if not steps:
        return document if verb == "remove" else operation.at("value")
    return _changed(document, steps, operation)


def _found(node: Node, steps: tuple[str, ...]) -> Node:
    for step in steps:
        node = node.at(int(step)) if node.kind == "list" and step.isdigit() else node.at(step)
    return node


def _changed(node: Node, steps: tuple[str, ...], operation: Node) -> Node:
    step, rest = steps[0], steps[1:]
    child = _found(node, (step,))
    if rest:
        if child.kind not in ("map", "list"):
            raise DoesNotApply(operation, f"{operation.at('path').text} leads to nothing")
        changed = _changed(child, rest, operation)
        return node.put(step, changed) if node.kind == "map" else _with_item(node, int(step), changed)
    if node.kind == "map":
        if operation.at("op").text != "remove":
            return node.put(step, operation.at("value"))  # also for replace where there is nothing, as kustomize does
        if child.kind != "absent":
            return node.without(step)
        raise DoesNotApply(operation, f"there is nothing at {operation.at('path').text} to remove")
    if node.kind == "list":
        return _indexed(node, step, operation)
    raise DoesNotApply(operation, f"{operation.at('path').text} leads to nothing")


def _indexed(node: Node, step: str, operation: Node) -> Node:
    verb, value, items = operation.at("op").text, operation.at("value"), list(node.items())
    position = len(items) if step == "-" else int(step) if step.isdigit() and len(step) < 10 else -1
    if position < 0 or position > len(items) - (verb != "add"):
        raise DoesNotApply(operation, f"there is nothing at {operation.at('path').text} to {verb}")
    match verb:
        case "add":
            items.insert(position, value)
        case "replace":
            items[position] = value
        case _:
            del items[position]
    return node.listing(items)


def _with_item(node: Node, position: int, item: Node) -> Node:
    items = list(node.items())
    items[position] = item
    return node.listing(items)
