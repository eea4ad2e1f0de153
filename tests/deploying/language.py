"""The sentences of a scenario.

A file holds one a line; `#` begins a remark. The first line is what must hold. `only: simulated` says that a real
cluster cannot be asked to do this. A sentence that nobody knows is an error, so a typing mistake never passes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SENTENCES: dict[str, str] = {
    r"(\S+) runs": "runs",
    r"(\S+) was deployed by somebody else": "foreign",
    r"pods of (\S+) (.+?) on (node-\w)": "pods_on",
    r"pods of (\S+) (.+)": "pods",
    r"the cluster has room for (\d+) pods": "room",
    r"the cluster refuses pods, saying: (.+)": "webhook",
    r"the account may not (\S+) (\S+)": "denied",
    r"the cluster does not know (\S+)": "unknown",
    r"the cluster warns: (.+)": "warns",
    r"the pods demand a credential": "credential",
    r"the caller shows the credential": "show_credential",
    r"every (\d+)\w\w request is dropped": "drop_every",
    r"the first answer to each (\w+) is (\d+)": "busy",
    r"watches are cut after every (\d+) changes": "cut_watches",
    r"the cluster forgets its history again and again": "forget",
    r"the connection is lost for good after (\d+) requests": "lose",
    r"the connection is there again": "found",
    r"somebody scales to (\d+)": "scale",
    r"somebody changes (\S+) of the container to (\S+)": "change",
    r"the autoscaler has set (\d+) pods": "scale",
    r"nothing is wrong any more": "mend",
    r"(\S+) is deployed": "deploy",
    r"(\S+) is deployed with --take-over": "deploy_by_force",
    r"(\S+) is shown with --dry-run": "dry_run",
    r"it is rolled back": "rollback",
    r"it is rolled back to (\S+)": "rollback",
    r"it ends well": "ends_well",
    r"it ends with (\d)": "ends_with",
    r"it says: (.+)": "says",
    r"it does not say: (.+)": "says_not",
    r"the remedy says: (.+)": "advises",
    r"the cluster runs (\S+) alone": "runs_alone",
    r"labels, configuration and model are all those of (\S+)": "agrees",
    r"there are (\d+) pods": "counts",
    r"no Deployment is left": "nothing_left",
    r"nothing was applied": "untouched",
    r"the record of (\S+) is (\w+)": "record",
    r"the status is (well|not well)": "status",
    r"every running pod is proven": "verified",
    r"not every running pod is proven": "not_verified",
    r"(\d+) records are kept": "kept",
    r"the container's (\S+) is (\S+)": "container",
}


@dataclass(frozen=True)
class Step:
    line: int
    text: str
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    path: Path
    title: str
    only_simulated: bool
    steps: tuple[Step, ...]


def read(path: Path) -> Scenario:
    lines = [(number, line.split("#")[0].strip()) for number, line in enumerate(path.read_text().splitlines(), 1)]
    (_, title), *rest = [(number, line) for number, line in lines if line]
    only = [line for _, line in rest if line == "only: simulated"]
    return Scenario(path, title, bool(only), tuple(_steps(path, [item for item in rest if item[1] not in only])))


def _steps(path: Path, lines: list[tuple[int, str]]) -> Iterator[Step]:
    for number, line in lines:
        text = re.sub(r"^(Given|When|Then|And) ", "", line)
        for pattern, name in SENTENCES.items():
            if match := re.fullmatch(pattern, text):
                yield Step(number, text, name, match.groups())
                break
        else:
            raise AssertionError(f"{path.name}:{number}: nobody knows what this means: {line}")


def play(scenario: Scenario, world: Any) -> None:
    """Carry out every step; an assertion that fails names its line."""
    for step in scenario.steps:
        act: Callable[..., None] = getattr(world, step.name)
        try:
            act(*step.words)
        except AssertionError as error:
            error.add_note(f"{scenario.path.name}:{step.line}: {step.text}")
            raise
