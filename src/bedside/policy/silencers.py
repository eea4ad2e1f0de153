"""What makes hadolint, trivy or zizmor say less: comments and files of their own, without a reason and an end."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from bedside.policy.place import Hit, Place
from bedside.policy.yamltree import Node

_OBEYED: Final = re.compile(r"(?:#|//).*\b(trivy|tfsec):ignore:")
"""Trivy has no option that leaves these aside."""

_LEFT_ASIDE: Final = re.compile(r"#.*\b(hadolint)\s+(?:global\s+)?ignore\s*=|#.*\b(zizmor):\s*ignore\[")

_FILES: Final = {
    ".hadolint.yaml": "hadolint",
    ".hadolint.yml": "hadolint",
    ".trivyignore": "trivy",
    ".trivyignore.yaml": "trivy",
}
_OFTEN_SOMETHING_ELSE: Final = {"trivy.yaml": "trivy", "zizmor.yml": "zizmor", "zizmor.yaml": "zizmor"}
"""Workflows and manifests are called so, too."""


def of_text(text: str, path: str) -> Iterator[tuple[str, Hit]]:
    """Comments of a Dockerfile, YAML or Terraform file that silence a tool, each by the rule that it breaks."""
    if "ignore" not in text:
        return
    for number, line in enumerate(text.split("\n"), start=1):
        where = Place(path, number, number)
        if _OBEYED.search(line):
            yield "BED-INP-012", Hit(where, "trivy obeys this comment, which has no reason and no end")
        elif mark := _LEFT_ASIDE.search(line):
            yield "BED-INP-013", Hit(where, f"{mark[1] or mark[2]} was asked without this comment")


def of_names(names: Iterable[str]) -> Iterator[tuple[str, Hit]]:
    """Configurations of those tools among the files that were seen."""
    for name in sorted(names):
        tool = _FILES.get(name.rpartition("/")[2])
        if tool is not None:
            yield "BED-INP-013", Hit(Place(name), f"{tool} was asked without this file")


def of_documents(nodes: Iterable[Node], path: str) -> Iterator[tuple[str, Hit]]:
    """A configuration by its name that is neither a workflow nor an object."""
    tool = _OFTEN_SOMETHING_ELSE.get(path.rpartition("/")[2])
    if tool is not None and not any(node.at("kind") or node.at("jobs") for node in nodes):
        yield "BED-INP-013", Hit(Place(path), f"{tool} was asked without this file")
