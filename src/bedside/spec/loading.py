"""Reading bedside.toml and the files that it names. All problems are collected and raised together."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bedside.errors import SpecInvalid, UsageError
from bedside.findings import Finding, Severity
from bedside.spec import deploy_rules, document, files, positions, rules, units
from bedside.spec.deploy import DeploySection
from bedside.spec.rules import Problem
from bedside.spec.section import Section
from bedside_runtime import address, contract, golden

FILE_NAME = "bedside.toml"

_S = TypeVar("_S", bound=Section)
_OPEN = b"OPEN QUESTION"
"""What `bedside init` marks for the author."""

_SHOWN = 60
"""Longest value, in characters, that a message quotes."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """``[model]``, its paths resolved to absolute ones inside the project.

    ``source`` is where an artifact lies that is no file of the project, and ``sha256`` what its bytes must have; of
    ``artifact`` the name alone counts then.
    """

    name: str
    version: str
    title: str
    framework: contract.Framework
    artifact: Path
    card: Path
    code: tuple[Path, ...]
    signed: bool = False
    source: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """``[environment]``, resolved."""

    python: str
    requirements: Path
    accelerator: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True, slots=True)
class GoldenSpec:
    """``[golden]``, resolved."""

    cases: Path
    tolerance: float


@dataclass(frozen=True, slots=True)
class Spec:
    """A valid bedside.toml.

    ``engine`` is what shall compute, or ``auto``; ``notes`` are findings that do not stand in the way.
    """

    root: Path
    model: ModelSpec
    environment: EnvironmentSpec
    inputs: tuple[contract.Input, ...]
    output: contract.Output
    golden: GoldenSpec
    serve: contract.Serve
    engine: str = "native"
    audit: contract.Audit | None = None
    deploy: DeploySection | None = None
    notes: tuple[Finding, ...] = ()


def load(project: Path) -> Spec:
    """Read and check the bedside.toml in ``project`` (or the file itself), and every file that it names.

    Raises:
        UsageError: There is no such file, or it cannot be read.
        SpecInvalid: With one finding for everything that is wrong.
    """
    path = project / FILE_NAME if project.is_dir() else project
    return _Reading(path, _bytes(path)).spec()


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a bedside.toml says about the cluster, and which model it is about."""

    model: str
    settings: DeploySection


def load_deployment(path: Path) -> Deployment:
    """Read and check ``[deploy]`` alone; the model's files need not be there.

    Raises:
        UsageError: There is no such file, or it cannot be read.
        SpecInvalid: With one finding for everything that is wrong with the section.
    """
    return _Reading(path, _bytes(path)).deployment()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", remedy="Name a project folder, or make one with `bedside init`."
        ) from None


def _table(path: Path, data: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = data.decode("utf-8")
        return text, tomllib.loads(text)
    except UnicodeDecodeError:
        message, remedy = "the file is not UTF-8", "Save it as UTF-8."
    except tomllib.TOMLDecodeError as error:
        message, remedy = f"the file is not TOML: {error}", "Correct the line that it names (toml.io has the syntax)."
    except RecursionError:
        message, remedy = "the file is nested too deeply", "bedside.toml needs three levels."
    finding = Finding(
        rule="BED-SPEC-001", severity=Severity.PATIENT_SAFETY, message=message, remedy=remedy, file=str(path)
    )
    raise SpecInvalid(f"{path} cannot be read", findings=[finding])


@dataclass
class _Reading:
    """One pass over one document: sections first, then their sense, then the files they name."""

    path: Path
    data: bytes
    problems: list[Problem] = field(default_factory=list)
    _lines: Mapping[str, int] = field(default_factory=dict)

    def spec(self) -> Spec:
        text, table = _table(self.path, self.data)
        self._lines = positions.lines(text)
        self._unknown(table, "", document.Document)
        if table.get("schema") != 1 or isinstance(table.get("schema"), bool):
            self._problem("BED-SPEC-002", "schema", f"schema is {_quoted(table.get('schema'))}", "Write schema = 1.")
        model = self._section(table, "model", document.ModelSection)
        environment = self._section(table, "environment", document.EnvironmentSection)
        output = self._section(table, "output", document.OutputSection)
        golden_section = self._section(table, "golden", document.GoldenSection)
        serve = self._section(table, "serve", document.ServeSection, optional=True)
        audit = self._section(table, "audit", document.AuditSection) if "audit" in table else None
        deploy = self._deploy(table)
        inputs, complete = self._inputs(table)
        if model:
            self.problems += rules.model(model)
        if environment:
            self.problems += rules.environment(environment)
        self.problems += rules.inputs(inputs)
        if output:
            self.problems += rules.output(output)
        if serve:
            self.problems += rules.serve(serve)
        sound = complete and output is not None and not self._blames("inputs", "output")
        found = files.check(self.path.parent, table)
        self.problems += found.problems
        if sound and output and golden_section and found.golden is not None:
            self._golden(found.golden, [section for _, section in inputs], output)
        if self.problems or not (model and environment and output and golden_section and serve):
            raise self._invalid()
        return self._resolved(model, environment, inputs, output, golden_section, serve, audit, deploy)

    def deployment(self) -> Deployment:
        text, table = _table(self.path, self.data)
        self._lines = positions.lines(text)
        deploy = self._deploy(table)
        model = table.get("model")
        name = model.get("name") if isinstance(model, dict) else None
        if not isinstance(name, str):
            self._problem("BED-SPEC-002", "model.name", "name is missing", "Add name.")
        if "deploy" not in table:
            self._problem("BED-SPEC-002", "deploy", "[deploy] is missing", "Add the section [deploy]: host, exposure.")
        if self.problems or deploy is None:
            raise self._invalid()
        return Deployment(str(name), deploy)

    # -- sections

    def _deploy(self, table: Mapping[str, Any]) -> DeploySection | None:
        section = self._section(table, "deploy", DeploySection) if "deploy" in table else None
        if section is not None:
            model = table.get("model")
            self.problems += deploy_rules.deploy(section, str(model.get("name")) if isinstance(model, dict) else "")
        return section

    def _section(self, table: Mapping[str, Any], name: str, kind: type[_S], *, optional: bool = False) -> _S | None:
        raw = table.get(name, {} if optional else None)
        if raw is None:
            self._problem("BED-SPEC-002", name, f"[{name}] is missing", f"Add the section [{name}].")
            return None
        return self._parsed(raw, name, kind)

    def _parsed(self, raw: object, path: str, kind: type[_S]) -> _S | None:
        if not isinstance(raw, dict):
            self._problem("BED-SPEC-005", path, f"{path} is no table", f"Write a section [{path}].")
            return None
        self._unknown(raw, path, kind)
        known = {key: value for key, value in raw.items() if key in _keys(kind)}
        try:
            return kind.model_validate(known)
        except ValidationError as error:
            self.problems += [_translated(path, detail) for detail in error.errors(include_url=False)]
            return None

    def _inputs(self, table: Mapping[str, Any]) -> tuple[list[tuple[int, document.InputSection]], bool]:
        raw = table.get("inputs")
        if not isinstance(raw, list) or not raw:
            self._problem("BED-SPEC-002", "inputs", "no input is declared", "Add an [[inputs]] section for each input.")
            return [], False
        parsed = [
            (index, self._parsed(item, f"inputs[{index}]", document.InputSection)) for index, item in enumerate(raw)
        ]
        good = [(index, section) for index, section in parsed if section is not None]
        return good, len(good) == len(raw)

    def _unknown(self, raw: Mapping[str, Any], path: str, kind: type[Section]) -> None:
        known = _keys(kind)
        for key in raw:
            place = f"{path}.{key}" if path else key
            if key in known:
                continue
            near = difflib.get_close_matches(key, known, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Known keys here: {', '.join(sorted(known))}."
            self._problem("BED-SPEC-003", place, f"unknown key {_quoted(key)}", remedy)

    # -- golden cases, result

    def _golden(self, data: bytes, inputs: Sequence[document.InputSection], output: document.OutputSection) -> None:
        try:
            golden.parse(data, [_input(section) for section in inputs], _output(output))
        except golden.GoldenInvalid as error:
            for problem in error.problems:
                message = f"line {problem.line}: {problem.message}"
                self._problem("BED-SPEC-050", "golden.cases", message, golden.GoldenInvalid.remedy)

    def _resolved(
        self,
        model: document.ModelSection,
        environment: document.EnvironmentSection,
        inputs: Iterable[tuple[int, document.InputSection]],
        output: document.OutputSection,
        golden_section: document.GoldenSection,
        serve: document.ServeSection,
        audit: document.AuditSection | None,
        deploy: DeploySection | None,
    ) -> Spec:
        root = self.path.parent.resolve()
        source = model.artifact if address.is_address(model.artifact) else None
        return Spec(
            root=root,
            model=ModelSpec(
                name=model.name,
                version=model.version,
                title=model.title,
                framework=model.framework,
                artifact=root / (model.artifact if source is None else address.parse(source).name),
                card=root / model.card,
                code=tuple(root / name for name in model.code),
                signed=model.signed,
                source=source,
                sha256=model.sha256,
            ),
            environment=EnvironmentSpec(environment.python, root / environment.requirements, environment.accelerator),
            inputs=tuple(_input(section) for _, section in inputs),
            output=_output(output),
            golden=GoldenSpec(root / golden_section.cases, golden_section.tolerance),
            serve=_serve(serve),
            engine=serve.engine,
            audit=contract.Audit(**audit.model_dump()) if audit else None,
            deploy=deploy,
            notes=(
                *self._notes(output, golden_section),
                *self._nobody(serve),
                *self._unrecorded(audit),
                *self._open_questions(model.card),
            ),
        )

    def _open_questions(self, card: str) -> Iterator[Finding]:
        texts = (self.data, (self.path.parent / card).read_bytes())
        if count := sum(text.count(_OPEN) for text in texts):
            yield self._finding(
                Problem("BED-SPEC-052", "", f"{count} questions are left open", "Answer what is marked OPEN QUESTION."),
                Severity.NOTE,
            )

    def _nobody(self, serve: document.ServeSection) -> Iterator[Finding]:
        auth = serve.auth
        if "none" in auth.methods and auth.acknowledged is None:
            message = "nobody authenticates, so the release is served on loopback only, and not in a pod"
            remedy = 'Choose how callers show who they are: [serve.auth] methods = ["api-key"].'
            yield self._finding(Problem("BED-SPEC-072", "serve.auth", message, remedy), Severity.NOTE)

    def _unrecorded(self, audit: document.AuditSection | None) -> Iterator[Finding]:
        """What the author chose is said wherever the release is: here, by /model, in readiness, metrics and alerts."""
        if audit is not None and audit.on_failure == "answer-and-alarm":
            message = "while the audit log takes no record, patients are answered all the same, without a record"
            remedy = 'Write on_failure = "refuse", unless an answer without a record is the lesser harm.'
            yield self._finding(Problem("BED-SPEC-053", "audit.on_failure", message, remedy), Severity.NOTE)

    def _notes(self, output: document.OutputSection, golden_section: document.GoldenSection) -> Iterator[Finding]:
        if golden_section.tolerance >= rules.narrowest_band(output):
            yield self._finding(
                Problem(
                    "BED-SPEC-051",
                    "golden.tolerance",
                    "the tolerance is as wide as a band; the band must still be the same, so cases near a bound fail",
                    "Use a tolerance far below the width of the narrowest band.",
                ),
                Severity.NOTE,
            )

    # -- problems

    def _problem(self, rule: str, path: str, message: str, remedy: str) -> None:
        self.problems.append(Problem(rule, path, message, remedy))

    def _blames(self, *sections: str) -> bool:
        return any(problem.path.split(".")[0].split("[")[0] in sections for problem in self.problems)

    def _finding(self, problem: Problem, severity: Severity = Severity.PATIENT_SAFETY) -> Finding:
        return Finding(
            rule=problem.rule,
            severity=severity,
            message=problem.message,
            remedy=problem.remedy,
            file=str(self.path),
            line=positions.line_of(self._lines, problem.path),
            path=problem.path,
        )

    def _invalid(self) -> SpecInvalid:
        findings = sorted((self._finding(problem) for problem in self.problems), key=lambda item: item.line)
        return SpecInvalid(f"{self.path} has {len(findings)} problem(s)", findings=findings)


def _keys(kind: type[Section]) -> list[str]:
    return [info.alias or name for name, info in kind.model_fields.items()]


def _input(section: document.InputSection) -> contract.Input:
    table = dict(units.conversions(section.unit)) if section.unit is not None else {}
    return contract.Input(**section.model_dump(), conversions=table)


def _serve(section: document.ServeSection) -> contract.Serve:
    auth = section.auth
    jwt = contract.Jwt(**auth.jwt.model_dump()) if auth.jwt is not None else None
    return contract.Serve(
        **section.model_dump(exclude={"engine", "auth", "tls"}),
        tls=contract.Tls(**section.tls.model_dump()) if section.tls is not None else None,
        auth=contract.Auth(**auth.model_dump(exclude={"jwt"}), jwt=jwt),
    )


def _output(section: document.OutputSection) -> contract.Output:
    bands = tuple(contract.Band(name=band.name, below=band.below) for band in section.bands)
    return contract.Output(**section.model_dump(exclude={"bands"}), bands=bands)


def _not_yet(path: str, what: str) -> Problem:
    return Problem(
        "BED-SPEC-006",
        path,
        f"{what}: part of the design, and not supported by this version",
        "Leave it out; a release must not promise what does not run.",
    )


def _translated(section: str, detail: ErrorDetails) -> Problem:
    path = section + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    name = path.rpartition(".")[2]
    given = detail.get("input")
    match detail["type"]:
        case "missing":
            return Problem("BED-SPEC-002", path, f"{name} is missing", f"Add {name}.")
        case "extra_forbidden":
            return Problem("BED-SPEC-003", path, f"unknown key {_quoted(name)}", "Remove it.")
        case "literal_error":
            return _wrong_word(path, given, detail)
        case _:
            message = f"{name} = {_quoted(given)}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
            return Problem("BED-SPEC-005", path, message, f"Correct {name}.")


def _wrong_word(path: str, given: object, detail: ErrorDetails) -> Problem:
    key = path.replace("inputs[", "inputs.[").split(".")
    place = f"{key[0]}.{key[-1]}"
    if isinstance(given, str) and (place, given) in document.NOT_YET_WORDS:
        return _not_yet(path, document.NOT_YET_WORDS[place, given])
    words = str(detail.get("ctx", {}).get("expected", ""))
    listed = [word.strip("'") for word in words.replace(" or ", ", ").split(", ")]
    near = difflib.get_close_matches(str(given), listed, n=1)
    remedy = f"Did you mean {near[0]!r}?" if near else f"Write one of: {', '.join(listed)}."
    return Problem("BED-SPEC-004", path, f"{key[-1]} = {_quoted(given)} is not one of {words}", remedy)


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
