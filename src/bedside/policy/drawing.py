"""Draw the picture: every file by its parser, then what kustomizations and pipelines make of them.

Pure: bytes in, a Picture out. What cannot be read becomes a problem in it.
"""

import ast
import json
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

from bedside.policy import applications, dockerfiles, gitlab, remarks, requirement_files, silencers, yamltree
from bedside.policy.kubernetes import KubeObject
from bedside.policy.kustomize.kustomization import FILES, Kustomization
from bedside.policy.kustomize.trees import Tree, grown
from bedside.policy.picture import Picture
from bedside.policy.place import Hit, Place, SourceFile
from bedside.policy.workflows import Workflow
from bedside.policy.yamltree import Node

_PATCH = re.compile(r"(?i)(^|[/_.-])patch(es)?([/_.-]|$)")

MAX_BYTES = 4_194_304
"""Largest file that is read."""


def draw(
    files: Iterable[SourceFile], *, names: Iterable[str] = (), whole: bool = True, roots: Iterable[str] = ("",)
) -> Picture:
    """Parse every file into one picture. Never raises for what is in a file."""
    sources = list(files)
    seen = frozenset([*names, *(item.path for item in sources)])
    builder = _Builder(
        charts=frozenset(posixpath.dirname(name) for name in seen if name.rpartition("/")[2] == "Chart.yaml")
    )
    for source in sources:
        builder.take(source)
    return builder.picture(seen, whole=whole, roots=frozenset(roots))


class _Builder:
    def __init__(self, charts: frozenset[str]) -> None:
        self.charts = charts
        self.templates: dict[str, int] = {}
        self.documents: dict[str, tuple[Node, ...]] = {}
        self.loaded: dict[str, tuple[Node, ...]] = {}
        self.kustomizations: list[Kustomization] = []
        self.dockerfiles: list[dockerfiles.Dockerfile] = []
        self.ignores: dict[str, tuple[str, ...]] = {}
        self.applications: list[applications.Application] = []
        self.workflows: list[Workflow] = []
        self.requirements: list[requirement_files.RequirementsFile] = []
        self.json: dict[str, dict[str, dict[str, Any]]] = {"contract.json": {}, "measurements.json": {}}
        self.specs: dict[str, dict[str, Any]] = {}
        self.remarks: list[remarks.Remark] = []
        self.problems: list[tuple[str, Hit]] = []

    def problem(self, rule: str, path: str, line: int, message: str) -> None:
        self.problems.append((rule, Hit(Place(path, line, line), message)))

    def take(self, source: SourceFile) -> None:
        if len(source.data) > MAX_BYTES:
            self.problem("BED-INP-003", source.path, 0, f"the file is larger than {MAX_BYTES} bytes and was not read")
            return
        try:
            text = source.data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            self.problem("BED-INP-003", source.path, 0, "the file is not UTF-8 text and was not read")
            return
        kind = kind_of(source.path)
        if kind in ("dockerfile", "python", "yaml"):
            self.remarks += remarks.of_comments(text, source.path)
        if kind in ("dockerfile", "terraform", "yaml"):
            self.problems += silencers.of_text(text, source.path)
        match kind:
            case "prose":
                self.remarks += remarks.of_prose(text, source.path)
            case "dockerfile":
                self._dockerfile(text, source.path)
            case "dockerignore":
                lines = (line.strip() for line in text.splitlines())
                self.ignores[source.path] = tuple(line for line in lines if line and not line.startswith("#"))
            case "python":
                self._python(text, source.path)
            case "requirements" if text.startswith(("dependencies:", "digest:")):
                pass  # a lock file of Helm
            case "requirements":
                parsed = requirement_files.parse(text, source.path)
                self.requirements.append(parsed)
                self.problems += [("BED-INP-001", hit) for hit in parsed.problems]
            case "toml":
                self._toml(text, source.path)
            case "json":
                self._json(text, source)
            case "yaml":
                self._yaml(text, source)
            case _:
                pass

    def _dockerfile(self, text: str, path: str) -> None:
        if len(text) > dockerfiles.MAX_BYTES:
            self.problem("BED-INP-003", path, 0, f"a Dockerfile over {dockerfiles.MAX_BYTES} bytes was not read")
            return
        try:
            self.dockerfiles.append(dockerfiles.parse(text, path))
        except dockerfiles.NotADockerfile as error:
            self.problem("BED-INP-001", path, 0, f"not a Dockerfile: {error}")

    def _python(self, text: str, path: str) -> None:
        try:
            tree = applications.parse_module(text)
        except applications.NotPython as error:
            self.problem("BED-INP-001", path, error.line, str(error))
            return
        first = tree.body[0].lineno if tree.body else 1
        self.remarks += remarks.of_prose(ast.get_docstring(tree, clean=False) or "", path, first)
        found = applications.application(tree, path)
        if found is not None:
            self.applications.append(found)

    def _toml(self, text: str, path: str) -> None:
        try:
            self.specs[path] = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            self.problem("BED-INP-001", path, 0, f"not TOML: {error}")

    def _json(self, text: str, source: SourceFile) -> None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            self.problem("BED-INP-001", source.path, 0, "not JSON")
            return
        if isinstance(value, dict):
            self.json[source.name][source.path] = value

    def _yaml(self, text: str, source: SourceFile) -> None:
        chart = next(
            (one for one in self.charts if f"/{source.path}".startswith(f"/{one}/templates/".replace("//", "/"))), None
        )
        if chart is not None:
            self.templates[chart] = self.templates.get(chart, 0) + 1
            return
        loaded = yamltree.load(text, source.path)
        if any(problem.template for problem in loaded.problems) or ("{{" in text and loaded.problems):
            self.problem("BED-INP-004", source.path, 0, "a template, not YAML, and was not read")
            return
        for problem in loaded.problems:
            rule = "BED-INP-008" if problem.duplicate else "BED-INP-001"
            self.problem(rule, source.path, problem.line, problem.message)
        self.loaded[source.path] = loaded.nodes
        self.problems += silencers.of_documents(loaded.nodes, source.path)
        self.documents[source.path] = tuple(item for node in loaded.nodes for item in self._objects_in(node, source))

    def _objects_in(self, node: Node, source: SourceFile) -> Iterator[Node]:
        """The objects of one document; what is something else is kept as that."""
        api, kind = node.at("apiVersion").text, node.at("kind").text
        if api.startswith("kustomize.config.k8s.io/") or source.name in FILES:
            self.kustomizations.append(Kustomization(source.directory, node))
        elif kind.endswith("List") and node.at("items").items():
            yield from (item for item in node.at("items").items() if item.at("kind"))
        elif api and kind:
            yield node
        elif gitlab.is_pipeline(source.path):
            pass  # read as a whole at the end: parts of it lie in other files
        elif "/.github/workflows/" in f"/{source.path}" or (
            node.at("jobs").pairs() and any(key == "on" for key, _ in node.pairs())
        ):
            self.workflows.append(Workflow(source.path, node))
        elif node.at("metadata").pairs() and (api or kind or node.at("metadata", "name")):
            missing = "kind" if api else "apiVersion" if kind else "kind and no apiVersion"
            self.problem("BED-INP-010", source.path, node.line, f"this has metadata, and no {missing}: it is no object")

    def picture(self, names: frozenset[str], *, whole: bool, roots: frozenset[str]) -> Picture:
        for chart, count in self.templates.items():
            path = posixpath.join(chart, "Chart.yaml")
            self.problem("BED-INP-004", path, 0, f"a Helm chart, of which {count} templates were not read")
        for path in filter(gitlab.is_whole, self.loaded):
            pipeline = gitlab.expanded(path, self.loaded)
            if pipeline is not None:
                self.workflows.append(Workflow(path, pipeline, gitlab=True))
        self.problems += silencers.of_names(names)
        trees = grown(self.kustomizations, self.documents, self.loaded)
        patches = {path for one in self.kustomizations for _, path in one.patch_files}
        for tree in trees if whole else ():
            self.problems += [("BED-REF-036", hit) for hit in tree.notes.useless]
            self.problems += [("BED-INP-011", hit) for hit in tree.notes.unfollowed]
        return Picture(
            whole=whole,
            names=names,
            roots=roots,
            objects=tuple(self._objects(trees)),
            kustomizations=tuple(self.kustomizations),
            unseen=frozenset(tree.name for tree in trees if not tree.notes.whole),
            dockerfiles=tuple(self.dockerfiles),
            ignores=self.ignores,
            applications=tuple(self.applications),
            workflows=tuple(self.workflows),
            requirements=tuple(self.requirements),
            specs=self.specs,
            contracts=self.json["contract.json"],
            measurements=self.json["measurements.json"],
            remarks=tuple(self.remarks),
            problems=tuple(
                one for one in self.problems if not (one[0] == "BED-INP-010" and one[1].place.file in patches)
            ),
        )

    def _objects(self, trees: list[Tree]) -> Iterator[KubeObject]:
        applied = frozenset().union(*(tree.files for tree in trees))
        for tree in trees:
            rivals = frozenset(other.name for other in trees if other is not tree and other.files & tree.files)
            for item in tree.objects:
                yield KubeObject(item.node, tree.name, item.partial, rivals)
        for path, documents in self.documents.items():
            if path not in applied and not self._is_spare_patch(path):
                yield from (KubeObject(node) for node in documents if not _is_helm_test(node))

    def _is_spare_patch(self, path: str) -> bool:
        """Whether a file is called a patch, below a kustomization, and is in use by none."""
        directories = [one.directory for one in self.kustomizations]
        return _PATCH.search(path) is not None and any(
            f"{path}/".startswith(f"{name}/" if name else "") for name in directories
        )


def _is_helm_test(node: Node) -> bool:
    """Whether only `helm test` ever applies it."""
    hooks = node.at("metadata", "annotations", "helm.sh/hook").text.split(",")
    return any(hook.strip().startswith("test") for hook in hooks)


def kind_of(path: str) -> str:
    """Which parser a file is for, by its name; empty for files that no rule reads."""
    name = path.rsplit("/", 1)[-1]
    lower = name.lower()
    if lower in ("dockerfile", "containerfile") or lower.startswith("dockerfile.") or lower.endswith(".dockerfile"):
        return "dockerignore" if lower.endswith(".dockerignore") else "dockerfile"
    if lower == ".dockerignore":
        return "dockerignore"
    if lower.endswith((".yaml", ".yml")) or name in ("-", "Kustomization"):
        return "yaml"
    if lower.endswith(".py"):
        return "python"
    if "requirements" in lower and lower.endswith((".txt", ".in", ".lock")):
        return "requirements"
    if lower == "bedside.toml":
        return "toml"
    if lower in ("readme.md", "readme.rst", "readme.txt", "readme"):
        return "prose"
    if lower.endswith((".tf", ".tofu")):
        return "terraform"  # which trivy checks; here only what silences it is looked at
    return "json" if lower in ("contract.json", "measurements.json") else ""
