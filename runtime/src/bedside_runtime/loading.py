"""From a release directory to a model that has proven itself here, with no step that can be skipped."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from bedside_runtime import adapters, canonical, contract, environment, equivalence, golden, signature
from bedside_runtime.adapters.predictor import Predictor
from bedside_runtime.contract import Contract, EngineName, Serve
from bedside_runtime.errors import ContractInvalid, IntegrityError
from bedside_runtime.signature import Verifies

Stage: TypeAlias = Literal["loading", "verifying"]

CARD = "model_card.json"

_UNCOVERED = frozenset({contract.FILE_NAME, signature.FILE_NAME, "measurements.json"})
"""Files of a release that contract.json cannot or does not cover; the last two never reach the model."""


class Loaded(Struct, frozen=True):
    """A release that is what it says it is, and answers as its study recorded.

    Attributes:
        contract: All that the release says.
        digest: The release digest, 64 hexadecimal digits.
        predictor: The model.
        cases: The golden cases.
        card: The model card, as its author wrote it.
        report: How replaying them went.
        timings: Seconds by step: ``files``, ``environment``, ``model``, ``golden``.
        notes: How this environment differs in what the replay alone can judge: libc, BLAS, threads.
    """

    contract: Contract
    digest: str
    predictor: Predictor
    cases: tuple[golden.Case, ...]
    card: Any
    report: golden.Report
    timings: dict[str, float]
    notes: tuple[str, ...]


def load(
    directory: Path,
    *,
    on_stage: Callable[[Stage], None] = lambda _: None,
    on_contract: Callable[[Contract], None] = lambda _: None,
    digest: str | None = None,
    key: Verifies | None = None,
) -> Loaded:
    """Load the release in ``directory``, or refuse it.

    Args:
        directory: A release.
        on_stage: Told what is being done.
        on_contract: Given the contract once every file has been compared with it.
        digest: The release digest it must have, with or without ``sha256:``.
        key: What its signature must verify with; ``None`` where no key is given.

    Raises:
        IntegrityError: A file is missing, unexpected, a link, or not the one that was validated.
        SignatureInvalid: A key is given, and the release is not signed with it.
        ContractInvalid: contract.json is not one.
        EnvironmentMismatch: Another Python or other distributions than validated.
        ForbiddenGlobal, ModelMismatch, LibraryMissing: The model cannot be loaded; see ``adapters``.
        GoldenMismatch, OutputInvalid: It does not answer as validated.
    """
    # 1. Read each file once; no links, nothing outside of the directory. Where a key is given, it signed these bytes.
    # 2. The contract's sha256 is the digest asked for, and its form is canonical.
    # 3. Exactly the files of the contract, each of its size and sha256.
    # 4. The Python and every distribution here are the validated ones.
    # 5. Build the model from the very bytes that were compared.
    # 6. Replay the golden cases, alone and in a batch.
    on_stage("loading")
    clock = _Clock()
    found, files = verified(directory, digest, key)  # 1, 2, 3
    on_contract(found)
    clock.lap("files")
    notes = environment.require(found.environment, environment.fingerprint())  # 4
    clock.lap("environment")
    predictor = open_model(found, files, found.engine.name)  # 5
    clock.lap("model")
    on_stage("verifying")
    cases = golden_cases(found, files)  # 6
    report = golden.replay(cases, found.output, found.golden.tolerance, predictor)
    clock.lap("golden")
    release = canonical.digest(files[contract.FILE_NAME])
    card = _card(files)
    return Loaded(found, release, predictor, cases, card, report, clock.timings, notes)


def _card(files: Mapping[str, bytes]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the model card; a release without one has none to show."""
    try:
        return canonical.decode(files[CARD]) if CARD in files else None
    except canonical.NotStrictJSON as error:
        raise ContractInvalid(f"{CARD} cannot be read: {error}") from None


def verified(
    directory: Path, digest: str | None = None, key: Verifies | None = None
) -> tuple[Contract, dict[str, bytes]]:
    """Return the contract of a release and all of its files, each read once and compared.

    Raises:
        IntegrityError, SignatureInvalid, ContractInvalid: As `load`.
    """
    files = dict(_read_all(directory))
    if key is not None:
        _signed(files, key)
    found = _contract(files, digest)
    _compare(found, files)
    return found, files


def verified_apart(
    directory: Path, digest: str | None = None, key: Verifies | None = None
) -> tuple[Contract, contract.File]:
    """Compare everything of a release but its artifact, which lies elsewhere; return the contract and what it must be.

    Where a key is given, it signed the artifact too: by the sha256 that is returned.

    Raises:
        IntegrityError, SignatureInvalid, ContractInvalid: As `load`.
    """
    head = {contract.FILE_NAME: _read(str(directory / contract.FILE_NAME), contract.FILE_NAME)}
    found = _contract(head, digest)
    path = found.model.artifact
    artifact = next((item for item in found.files if item.path == path), None)
    if artifact is None:
        raise IntegrityError(f"{path} is used, and no digest is recorded for it")
    files = {**dict(_read_all(directory, skip=path.partition("/")[0])), **head}
    if key is not None:
        _signed(files, key, {path: artifact.sha256})
    _compare(found, files, apart=frozenset({path}))
    return found, artifact


def settings(directory: Path) -> Serve | None:
    """Return how the release in ``directory`` wants to be served, before anything of it is verified.

    ``None`` for a release that cannot be read: whoever then loads it says what is wrong.
    """
    try:
        return contract.decode((directory / contract.FILE_NAME).read_bytes()).serve
    except (OSError, ContractInvalid):
        return None


def open_model(found: Contract, files: Mapping[str, bytes], engine: EngineName | Literal["native"]) -> Predictor:
    """Build the model of a verified release from the bytes that were compared.

    Raises:
        BedsideRuntimeError: See ``adapters``.
    """
    model = found.model
    code = {path: files[path] for path in model.code}
    artifact = files[model.artifact]
    graph = files[found.engine.converted.path] if found.engine.converted else None
    drawn = equivalence.drawn(found.inputs, golden_cases(found, files)) if engine != "native" else ()
    return adapters.open_model(
        model, found.inputs, found.output, artifact, code, engine, found.golden.tolerance, graph, drawn
    )


def golden_cases(found: Contract, files: Mapping[str, bytes]) -> tuple[golden.Case, ...]:
    """Return the golden cases of a verified release.

    Raises:
        GoldenInvalid: They do not fit the contract.
        IntegrityError: There are more or fewer than were validated.
    """
    cases = golden.parse(files[found.golden.path], found.inputs, found.output)
    if len(cases) != found.golden.cases:
        raise IntegrityError(f"{len(cases)} golden cases stand in the file; {found.golden.cases} were validated")
    return cases


def _signed(files: Mapping[str, bytes], key: Verifies, apart: Mapping[str, str] = {}) -> None:
    """Compare what the key signed with the bytes that were read; ``apart`` is the sha256 of what is yet to come."""
    signable = (files.keys() - _UNCOVERED) | (files.keys() & {contract.FILE_NAME})
    here = {**{path: hashlib.sha256(files[path]).hexdigest() for path in signable}, **apart}
    signature.require(files.get(signature.FILE_NAME), key, here)


class _Clock:
    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.timings[step], self._since = now - self._since, now


def _contract(files: dict[str, bytes], digest: str | None) -> Contract:
    data = files.get(contract.FILE_NAME)
    if data is None:
        raise IntegrityError(f"there is no {contract.FILE_NAME}: this directory is no release")
    here = canonical.digest(data)
    if digest is not None and digest.removeprefix("sha256:").lower() != here:
        raise IntegrityError(
            f"the release digest is {here}; {digest} was asked for",
            remedy="This is another release than the one that was validated. Find out where it came from.",
        )
    return contract.decode(data)


def _compare(expected: Contract, files: dict[str, bytes], *, apart: frozenset[str] = frozenset()) -> None:
    """Compare the exact set of files, their sizes and digests; every difference is named."""
    recorded = {item.path: item for item in expected.files if item.path not in apart}
    used = {expected.model.artifact, *expected.model.code, expected.golden.path} - apart
    used |= {expected.engine.converted.path} if expected.engine.converted else set()
    found = [f"{path} is used, and no digest is recorded for it" for path in used - recorded.keys()]
    found += [f"{path} is missing" for path in recorded.keys() - files.keys()]
    found += [f"{path} is not part of the release" for path in files.keys() - recorded.keys() - _UNCOVERED]
    for path in recorded.keys() & files.keys():
        item, data = recorded[path], files[path]
        if len(data) != item.size or hashlib.sha256(data).hexdigest() != item.sha256:
            found.append(f"{path} is not the file that was validated")
    if found:
        raise IntegrityError("the release is not what was validated:\n  " + "\n  ".join(sorted(found)))


def _read_all(directory: Path, *, skip: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield every file below ``directory`` but those in its folder ``skip``. Links are refused, never followed."""
    try:
        names = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError as error:
        raise IntegrityError(f"{directory.name} cannot be read: {error.strerror}") from None
    for entry in names:
        if entry.name == skip and entry.is_dir(follow_symlinks=False):
            continue
        if entry.is_dir(follow_symlinks=False):
            for path, data in _read_all(Path(entry.path)):
                yield f"{entry.name}/{path}", data
        else:
            yield entry.name, _read(entry.path, entry.name)


def _read(path: str, name: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise IntegrityError(f"{name} is a link or cannot be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - the descriptor was opened without following links
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise IntegrityError(f"{name} is no regular file")
        return file.read()
