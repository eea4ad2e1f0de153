"""The mechanical corrections: those with one right answer that changes nothing else. Text in, text out."""

import ast
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bedside.policy.applications import keyword
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules import agreement, cluster, image, pipeline, pod_security, serving, workloads


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines ``first`` to ``last`` of a file become ``lines``; ``last = first - 1`` puts them in before ``first``."""

    file: str
    first: int
    last: int
    lines: tuple[str, ...]


Texts = Mapping[str, list[str]]
Fix = Callable[[Picture, Texts], Iterator[Edit]]


def edits(picture: Picture, texts: Mapping[str, str]) -> dict[str, list[Edit]]:
    """Every correction, by rule."""
    lines = {path: text.split("\n") for path, text in texts.items()}
    return {rule: found for rule, fix in FIXES.items() if (found := list(fix(picture, lines)))}


def apply(text: str, changes: list[Edit]) -> str:
    """The text with the changes made, last line first; of two that overlap the first given is made."""
    lines = text.split("\n")
    floor = len(lines) + 1
    for change in sorted(set(changes), key=lambda item: (-item.first, -item.last)):
        if change.last < floor:
            lines[change.first - 1 : change.last] = change.lines
            floor = change.first
    return "\n".join(lines)


def diff(before: str, after: str, path: str) -> str:
    """A unified diff, empty where nothing changes."""
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
        )
    )


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _deleted(hits: Iterator[Hit]) -> Iterator[Edit]:
    for hit in hits:
        yield Edit(hit.place.file, hit.place.line, max(hit.place.end, hit.place.line), ())


def _replicas(picture: Picture, _texts: Texts) -> Iterator[Edit]:
    yield from _deleted(iter(agreement.replicas_beside_autoscaler(picture)))


def _healthcheck(picture: Picture, _texts: Texts) -> Iterator[Edit]:
    yield from _deleted(iter(image.healthcheck(picture)))


def _automount(picture: Picture, texts: Texts) -> Iterator[Edit]:
    for hit in workloads.token_automount(picture):
        lines = texts.get(hit.place.file, [])
        line = lines[hit.place.line - 1] if hit.place.line <= len(lines) else ""
        if re.fullmatch(r"\s*spec:\s*", line):
            inner = _indent(lines[hit.place.line])
            yield Edit(
                hit.place.file, hit.place.line + 1, hit.place.line, (f"{inner}automountServiceAccountToken: false",)
            )
        elif line.strip() == "automountServiceAccountToken: true":
            yield Edit(hit.place.file, hit.place.line, hit.place.line, (line.replace("true", "false"),))


def _escalation(picture: Picture, texts: Texts) -> Iterator[Edit]:
    for hit in pod_security.privilege_escalation(picture):
        lines = texts.get(hit.place.file, [])
        line = lines[hit.place.line - 1] if hit.place.line <= len(lines) else ""
        if re.fullmatch(r"\s*allowPrivilegeEscalation:\s*true\s*", line):
            yield Edit(hit.place.file, hit.place.line, hit.place.line, (line.replace("true", "false"),))
    for pod in picture.pods:
        for container in pod.all_containers:
            context = container.security
            lines = texts.get(context.file, [])
            block = context.pairs() and re.fullmatch(
                r"\s*securityContext:\s*", lines[context.line - 1] if lines else ""
            )
            if block and not context.at("allowPrivilegeEscalation") and not pod.windows:
                inner = _indent(lines[context.line])
                yield Edit(context.file, context.line + 1, context.line, (f"{inner}allowPrivilegeEscalation: false",))


def _shell_form(picture: Picture, _texts: Texts) -> Iterator[Edit]:
    for dockerfile in picture.dockerfiles:
        for instruction in dockerfile.start:
            plain = not instruction.exec_form and re.fullmatch(r"[\w./:=@ -]+", instruction.text)
            one_line = instruction.place.line == instruction.place.end
            if plain and one_line and not instruction.text.startswith("exec "):
                words = json.dumps(instruction.text.split())
                yield Edit(
                    dockerfile.path, instruction.place.line, instruction.place.line, (f"{instruction.name} {words}",)
                )


def _permissions(picture: Picture, _texts: Texts) -> Iterator[Edit]:
    for hit in pipeline.permissions(picture):
        if "default" in hit.message:
            yield Edit(hit.place.file, hit.place.line, hit.place.line - 1, ("permissions:", "  contents: read"))


def _documentation(picture: Picture, texts: Texts) -> Iterator[Edit]:
    hits = {hit.place for hit in serving.open_docs(picture)}
    for app in picture.applications:
        for call in app.constructors:
            line = texts.get(app.path, [])[call.lineno - 1 : call.lineno]
            if app.at(call) not in hits or call.end_lineno != call.lineno or not line or call.end_col_offset is None:
                continue
            missing = [name for name in ("docs_url", "redoc_url", "openapi_url") if keyword(call, name) is None]
            given = ", ".join(f"{name}=None" for name in missing)
            cut = call.end_col_offset - 1
            source = line[0].encode()
            before, after = source[:cut].decode(), source[cut:].decode()
            joint = ", " if call.args or call.keywords else ""
            yield Edit(app.path, call.lineno, call.lineno, (before + joint + given + after,))


def _tuple_status(picture: Picture, texts: Texts) -> Iterator[Edit]:
    hits = {hit.place for hit in serving.tuple_status(picture)}
    for app in picture.applications:
        imported = any(isinstance(node, ast.alias) and node.name == "JSONResponse" for node in app.nodes)
        for node in app.nodes:
            if not isinstance(node, ast.Return) or not isinstance(node.value, ast.Tuple) or not imported:
                continue
            value = node.value
            if app.at(value) not in hits:
                continue
            text = "\n".join(texts.get(app.path, []))
            parts = [ast.get_source_segment(text, item) for item in value.elts]
            if node.lineno == node.end_lineno and all(parts):
                inner = " " * node.col_offset
                yield Edit(
                    app.path,
                    node.lineno,
                    node.lineno,
                    (f"{inner}return JSONResponse({parts[0]}, status_code={parts[1]})",),
                )


def _legacy_class(picture: Picture, texts: Texts) -> Iterator[Edit]:
    for item in picture.of("Ingress"):
        node = item.annotations.at("kubernetes.io/ingress.class")
        lines = texts.get(node.file, [])
        flagged = any(
            hit.place.file == node.file and hit.place.line == node.line for hit in cluster.legacy_class(picture)
        )
        if flagged and item.spec.pairs() and not item.spec.at("ingressClassName") and lines:
            if len(item.annotations.pairs()) == 1:
                yield Edit(node.file, item.annotations.line, node.line, ())
            else:
                yield Edit(node.file, node.line, node.line, ())
            inner = _indent(lines[item.spec.line])
            yield Edit(node.file, item.spec.line + 1, item.spec.line, (f"{inner}ingressClassName: {node.text}",))


FIXES: Mapping[str, Fix] = {
    "BED-REF-024": _replicas,
    "BED-IMG-010": _shell_form,
    "BED-IMG-011": _healthcheck,
    "BED-POD-013": _escalation,
    "BED-K8S-002": _automount,
    "BED-K8S-032": _legacy_class,
    "BED-APP-001": _tuple_status,
    "BED-APP-010": _documentation,
    "BED-CI-003": _permissions,
}
"""Every rule that can be corrected mechanically."""
