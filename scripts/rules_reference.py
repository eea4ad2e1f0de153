"""Write docs/rules/ from the rules and the cases that test them. With --check, say whether it is stale."""

import contextlib
import difflib
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from bedside.findings import Severity
from bedside.policy import rulebook
from bedside.policy.stock import OVERRULED
from bedside.provenance.rules import rules as found_by_scans
from bedside.reports.text import render
from bedside.stages import check as stage
from bedside.stages.check_stock import FEW_OBJECTS

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests" / "policy"


def _cases_module() -> Any:  # noqa: ANN401 - a module of the tests, which are no package
    path = TESTS / "deployments_of_cases.py"
    specification = importlib.util.spec_from_file_location("deployments_of_cases", path)
    if specification is None or specification.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


TRIED = _cases_module()
DIRECTORY = ROOT / "docs" / "rules"
MADE = "<!-- Made by scripts/rules_reference.py from the rules and their tests; `make docs` writes it again. -->\n\n"
FAMILIES = {
    "REF": "Across files",
    "IMG": "Images",
    "DEP": "Dependencies",
    "POD": "Pod Security restricted",
    "K8S": "Kubernetes",
    "APP": "Serving code",
    "CI": "Pipelines",
    "INP": "Reading and accepting",
}

SCANS = {"SCN": "Scans", "TRU": "Trust policy"}
"""Families of the findings of `bedside scan` and of the trust policy, which have no cases as `check` has them."""


def pages() -> dict[str, str]:
    """Every page by its file name: one a family, and the list of all."""
    known = TRIED.cases()
    made = {
        f"{family.lower()}.md": MADE + "\n".join(_family(family, title, known)).rstrip() + "\n"
        for family, title in FAMILIES.items()
    }
    made |= {
        f"{family.lower()}.md": MADE + "\n".join(_scans(family, title)).rstrip() + "\n"
        for family, title in SCANS.items()
    }
    written = {"README.md": _index, "items.md": _items, "guide.md": _guide, "trivy.md": _trivy}
    return made | {name: MADE + "\n".join(lines()) + "\n" for name, lines in written.items()}


def _link(rule: str) -> str:
    return f"[{rule}]({rule.split('-')[1].lower()}.md#{rule.lower()})"


def _items() -> Iterator[str]:
    yield "# What is looked for, item by item\n"
    for family in tomllib.loads((TESTS / "items.toml").read_text())["family"]:
        yield f"## {family['title']}\n\n| item | rules |\n|---|---|"
        for item, found_by in family["items"]:
            yield f"| {item} | {', '.join(_link(rule) for rule in found_by)} |"
        yield ""


def _trivy() -> Iterator[str]:
    """What trivy looks for in Kubernetes objects, and who says it here."""
    yield "# What trivy looks for in Kubernetes objects\n"
    yield f"trivy takes 50 ms for an object, so `bedside check` asks it about {FEW_OBJECTS} by itself, about more with"
    yield "`--stock` or `--strict`; where it was not asked, the report says so (BED-INP-014). This is what"
    yield "a rule here says all the same, and what none does. A test holds it against every check that trivy has.\n"
    yield "Rules about requests, limits, images and root file systems are for pods that a Service sends to, those"
    yield "about roles and users for what serves a model: of a job, or of an operator's role, trivy alone speaks.\n"
    yield "## Said here\n\n| trivy | rules |\n|---|---|"
    said: dict[str, list[str]] = {}
    for name, rule in rulebook.rules().items():
        for theirs in rule.same_as:
            said.setdefault(theirs, []).append(name)
    for theirs in sorted(name for name in said if name.startswith(("KSV-", "KCV-"))):
        yield f"| {theirs} | {', '.join(_link(name) for name in said[theirs])} |"
    yield "\n## Left to trivy\n\n| trivy | what it looks for | why no rule here does |\n|---|---|---|"
    for row in tomllib.loads((TESTS / "left_to_trivy.toml").read_text())["left"]:
        yield f"| {', '.join(row['ids'])} | {row['what']} | {row['why']} |"
    yield "| KCV-0001 to KCV-0092 | How the cluster's own parts are started | A deployment does not start them. |"
    yield "\n## Not passed on, whoever asks\n\n| trivy | why |\n|---|---|"
    for name, why in OVERRULED.items():
        yield f"| {name} | {why} |"


def _guide() -> Iterator[str]:
    """What check says of the deployment that looks ready for production."""
    yield "# A deployment that looks ready for production\n"
    yield "[tests/policy/deployments/guide](../../tests/policy/deployments/guide) is written as a good guide would"
    yield "write it: FastAPI with health checks, a multi-stage Dockerfile, an autoscaler, TLS, a scan before the push."
    yield "hadolint and `trivy config` pass every line that this table names.\n"
    yield "| what is wrong with it | found as | where |\n|---|---|---|"
    for fact in tomllib.loads((TESTS / "guide.toml").read_text())["fact"]:
        rules = ", ".join(dict.fromkeys(_link(one["rule"]) for one in fact["finds"]))
        places = ", ".join(f"{one['file']}:{one['line']}" for one in fact["finds"])
        yield f"| {fact['says']} | {rules} | {places} |"
    with contextlib.chdir(TESTS / "deployments" / "guide"):
        report = stage.check(["."], runner=None, today=date(2026, 12, 1))
    yield f"\n```text\n$ bedside check --no-stock .\n{render(report).rstrip()}\n```"


def _index() -> Iterator[str]:
    total = len(rulebook.rules())
    yield f"# The rules of `bedside check` ({total})\n"
    yield "An id is stable and never given to another rule."
    yield "What is looked for, [item by item](items.md); what is found in a deployment that [looks ready](guide.md);"
    yield "how the rules do on deployments of others: [precision](precision.md); what is left to [trivy](trivy.md).\n"
    for severity in Severity:
        count = sum(rule.severity is severity for rule in rulebook.rules().values())
        yield f"- {severity.value}: {count}"
    for family, title in FAMILIES.items():
        yield f"\n## {title}\n\n| rule | what it finds | severity |\n|---|---|---|"
        for name, rule in rulebook.rules().items():
            if name.split("-")[1] == family:
                yield f"| [{name}]({family.lower()}.md#{name.lower()}) | {rule.title} | {rule.severity.value} |"
    for family, title in SCANS.items():
        yield f"\n## {title}\n\n| finding | what it is | severity |\n|---|---|---|"
        for name, found in found_by_scans().items():
            if name.split("-")[1] == family:
                yield f"| [{name}]({family.lower()}.md#{name.lower()}) | {found.title} | {found.severity.value} |"


def _scans(family: str, title: str) -> Iterator[str]:
    yield f"# {title}\n"
    for name, found in found_by_scans().items():
        if name.split("-")[1] == family:
            yield f'<a id="{name.lower()}"></a>\n## {name}: {found.title}\n'
            yield f"{found.severity.value}. {found.reason} {found.remedy}\n"


def _family(family: str, title: str, known: list[Any]) -> Iterator[str]:
    yield f"# {title}\n"
    for name, rule in rulebook.rules().items():
        if name.split("-")[1] != family:
            continue
        yield f'<a id="{name.lower()}"></a>\n## {name}: {rule.title}\n'
        yield f"{rule.severity.value}. {rule.reason} {rule.remedy}\n"
        if rule.same_as:
            yield f"The same as {', '.join(sorted(rule.same_as))} of the stock tools; said once.\n"
        mine = [case for case in known if case.about == name]
        yield from _example("Bad", next((case for case in mine if name in case.finds), None))
        yield from _example("Not it", next((case for case in mine if name not in case.finds), None))


def _example(word: str, case: Any) -> Iterator[str]:  # noqa: ANN401 - a case, or none
    """What a case changes, from the good deployment (-) to the one that is judged (+)."""
    if case is None:
        return
    yield f"{word}: {case.name}.\n\n```diff"
    base = TRIED.good(case.base)
    after = TRIED.patched(base, case)
    for path in sorted({*base, *after}):
        old, new = base.get(path, ""), after.get(path, "")
        if old != new:
            lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="", n=1)
            yield "\n".join(line for line in list(lines)[1:] if not line.startswith("@@"))
    yield "```\n"


def main() -> int:
    """Write the pages, or with --check compare them."""
    stale = [name for name, text in pages().items() if _read(DIRECTORY / name) != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"docs/rules/{name} is stale: run `make docs`")
        return 1 if stale else 0
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (DIRECTORY / name).write_text(text)
    return 0


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
