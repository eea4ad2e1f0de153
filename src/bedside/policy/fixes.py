"""The mechanical corrections: those with one right answer that changes nothing else. Text in, text out."""

import ast
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bedside.policy.applications import keyword
from bedside.policy.picture import Picture
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
    """A unified diff, empty where nothing changes; ``a/`` and ``b/`` stand before the path as git writes it."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    named = path.lstrip("/")
    return "".join(difflib.unified_diff(old, new, f"a/{named}", f"b/{named}"))


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _inside(texts: Texts, file: str, number: int) -> str:
    """Indentation of what a block's first line holds, past comments and blank lines."""
    lines = (line for line in texts.get(file, [])[number:] if line.strip() and not line.lstrip().startswith("#"))
    return _indent(next(lines, ""))


def _line(texts: Texts, file: str, number: int) -> str:
    """A line as it is written; a value can come from a patch or from a line with braces, which no fix is for."""
    lines = texts.get(file, [])
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _replicas(picture: Picture, texts: Texts) -> Iterator[Edit]:
    for hit in agreement.replicas_beside_autoscaler(picture):
        file, number = hit.place.file, hit.place.line
        if re.fullmatch(r"\s*replicas:\s*\d+\s*(#.*)?", _line(texts, file, number)):
            yield Edit(file, number, number, ())


def _healthcheck(picture: Picture, _texts: Texts) -> Iterator[Edit]:
    for hit in image.healthcheck(picture):
        yield Edit(hit.place.file, hit.place.line, max(hit.place.end, hit.place.line), ())


def _automount(picture: Picture, texts: Texts) -> Iterator[Edit]:
    for hit in workloads.token_automount(picture):
        line = _line(texts, hit.place.file, hit.place.line)
        if re.fullmatch(r"\s*spec:\s*", line):
            inner = _inside(texts, hit.place.file, hit.place.line)
            yield Edit(
                hit.place.file, hit.place.line + 1, hit.place.line, (f"{inner}automountServiceAccountToken: false",)
            )
        elif line.strip() == "automountServiceAccountToken: true":
            yield Edit(hit.place.file, hit.place.line, hit.place.line, (line.replace("true", "false"),))


def _escalation(picture: Picture, texts: Texts) -> Iterator[Edit]:
    for hit in pod_security.privilege_escalation(picture):
        line = _line(texts, hit.place.file, hit.place.line)
        if re.fullmatch(r"\s*allowPrivilegeEscalation:\s*true\s*", line):
            yield Edit(hit.place.file, hit.place.line, hit.place.line, (line.replace("true", "false"),))
    for pod in picture.pods:
        for container in pod.all_containers:
            context = container.security
            block = context.pairs() and re.fullmatch(
                r"\s*securityContext:\s*", _line(texts, context.file, context.line)
            )
            needed = context.at("privileged").text == "true" or "SYS_ADMIN" in (
                item.text.removeprefix("CAP_") for item in context.at("capabilities", "add").items()
            )
            if block and not context.at("allowPrivilegeEscalation") and not pod.windows and not needed:
                inner = _inside(texts, context.file, context.line)
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


_OWN_TOKEN = re.compile(r"GITHUB_TOKEN|github\.token|\bgh |git push")


def _permissions(picture: Picture, texts: Texts) -> Iterator[Edit]:
    for hit in pipeline.permissions(picture):
        writes = any(_OWN_TOKEN.search(line) for line in texts.get(hit.place.file, []))
        if "default" in hit.message and not writes:
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
            alone = _line(texts, app.path, node.lineno).strip() == ast.get_source_segment(text, node)
            if alone and all(parts):
                inner = _indent(_line(texts, app.path, node.lineno))
                yield Edit(
                    app.path,
                    node.lineno,
                    node.lineno,
                    (f"{inner}return JSONResponse({parts[0]}, status_code={parts[1]})",),
                )


def _legacy_class(picture: Picture, texts: Texts) -> Iterator[Edit]:
    for item in picture.of("Ingress"):
        node = item.annotations.at("kubernetes.io/ingress.class")
        flagged = any(
            hit.place.file == node.file and hit.place.line == node.line for hit in cluster.legacy_class(picture)
        )
        together = (
            node.file == item.spec.file
            and re.fullmatch(r"\s*kubernetes\.io/ingress\.class:\s*\S+\s*", _line(texts, node.file, node.line))
            and re.fullmatch(r"\s*spec:\s*", _line(texts, item.spec.file, item.spec.line))
        )
        if flagged and together and item.spec.pairs() and not item.spec.at("ingressClassName"):
            if len(item.annotations.pairs()) == 1 and item.annotations.line == node.line - 1:
                yield Edit(node.file, item.annotations.line, node.line, ())
            else:
                yield Edit(node.file, node.line, node.line, ())
            inner = _inside(texts, node.file, item.spec.line)
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
