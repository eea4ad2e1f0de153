"""Whether what is installed is what was validated, down to the last transitive package."""

import json
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bedside.policy.applications import imported
from bedside.policy.dockerfiles import Dockerfile
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.requirement_files import RequirementsFile
from bedside.policy.shell import Command

_DEVELOPMENT = (
    "pytest",
    "jupyter",
    "jupyterlab",
    "notebook",
    "ipykernel",
    "ipython",
    "black",
    "ruff",
    "mypy",
    "flake8",
    "pre-commit",
    "matplotlib",
    "seaborn",
)
_MODEL_LIBRARIES = (
    "scikit-learn",
    "xgboost",
    "xgboost-cpu",
    "lightgbm",
    "onnxruntime",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "joblib",
    "tensorflow",
)


@cache
def _table(name: str) -> Any:  # noqa: ANN401 - a JSON file of our own
    return json.loads((files("bedside.policy") / "data" / f"{name}.json").read_text())


def installed(picture: Picture) -> list[RequirementsFile]:
    """Files that an image installs; all of them where no Dockerfile says which."""
    named = [(image, name) for image in picture.dockerfiles for name in _installed_by(image)]
    if not named:
        return [item for item in picture.requirements if not item.abstract and not _for_development(item)]
    nearest = (_nearest(picture, image, name) for image, name in named)
    return list(dict.fromkeys(item for item in nearest if item is not None))


def _installed_by(image: Dockerfile) -> Iterator[str]:
    """Names of the requirements files that an image installs from."""
    for stage in image.stages:
        for instruction in stage.all("RUN"):
            for command in instruction.commands():
                for position, word in enumerate(command.words):
                    asked = position and command.words[position - 1] in ("-r", "--requirement")
                    if asked or (position and command.runs("uv", "pip", "sync")):
                        yield word.rsplit("/", 1)[-1]


def _nearest(picture: Picture, image: Dockerfile, name: str) -> RequirementsFile | None:
    """Of the files of one name that an image may take in, the one that lies nearest to the Dockerfile."""
    here = image.path.split("/")[:-1]
    sources = list(_taken_in(image))

    def distance(item: RequirementsFile) -> int:
        there = item.path.split("/")[:-1]
        shared = len(posixpath.commonprefix([here, there]))
        return len(here) + len(there) - 2 * shared

    mine = [item for item in picture.requirements if item.name == name and any(_takes(s, item.path) for s in sources)]
    return min(mine, key=distance, default=None)


def _taken_in(image: Dockerfile) -> Iterator[str]:
    """Paths of the build context that an image copies or mounts; files that the Dockerfile writes itself are none."""
    for stage in image.stages:
        for instruction in stage.all("COPY", "ADD"):
            if instruction.flag("from") is None and not instruction.script:
                yield from instruction.values[:-1]
        for instruction in stage.all("RUN"):
            mounts = " ".join(flag for flag in instruction.flags if "type=bind" in flag)
            yield from re.findall(r"(?:source|src)=([^,\s]+)", mounts)


def _takes(source: str, path: str) -> bool:
    """Whether a source is a file, or holds it, wherever the context begins; a pattern may be any."""
    bare = source.strip("./").removesuffix("/")
    return not bare or re.search(r"[*?\[$]", bare) is not None or f"/{bare}/" in f"/{path}/"


def _for_development(item: RequirementsFile) -> bool:
    return re.search(r"dev|test|doc|lint|build|ci|example", item.path.lower()) is not None


def unpinned(picture: Picture) -> Iterator[Hit]:
    """What floats is another package at the next build, and was never validated."""
    for item in installed(picture):
        for entry in item.entries:
            if entry.version is None and entry.url is None:
                yield Hit(entry.place, f"{entry.name} is not pinned to one version")
    for place, command in _pip_installs(picture):
        for word in _named_packages(command):
            try:
                requirement = Requirement(word)
            except InvalidRequirement:
                continue
            pinned = any(part.operator in ("==", "===") for part in requirement.specifier)
            if (
                not pinned
                and not requirement.url
                and canonicalize_name(requirement.name) not in ("pip", "setuptools", "wheel", "uv")
            ):
                how = (
                    f"in any version that is {requirement.specifier}"
                    if requirement.specifier
                    else "in whatever version there is"
                )
                yield Hit(place, f"{requirement.name} is installed {how}")


def _pip_installs(picture: Picture) -> Iterator[tuple[Any, Command]]:
    for image in picture.dockerfiles:
        for stage in image.stages:
            for instruction in stage.all("RUN"):
                for command in instruction.commands():
                    words = command.words
                    if "install" in words and ("pip" in words or command.program.startswith("pip")):
                        yield instruction.place, command


_TAKING_VALUE = frozenset(
    (
        *("-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "--index"),
        *("--default-index", "-f", "--find-links", "-t", "--target", "--prefix", "--root", "-e", "--editable"),
        *("--python", "-p", "--python-version", "--python-platform", "--platform", "--abi", "--implementation"),
        *("--trusted-host", "--proxy", "--cert", "--client-cert", "--timeout", "--retries", "--cache-dir"),
        *("--no-binary", "--only-binary", "--no-build-package", "--config-settings", "--config-setting", "-C"),
        *("--index-strategy", "--keyring-provider", "--resolution", "--prerelease", "--exclude-newer", "--link-mode"),
        *("--torch-backend", "--upgrade-strategy", "--upgrade-package", "-P", "--progress-bar", "--log", "--report"),
        *("--use-feature", "--use-deprecated", "--exists-action", "--group", "--extra", "--src", "--override"),
    )
)
"""Options of pip and uv whose next word is their value."""


def _named_packages(command: Command) -> list[str]:
    words = list(command.words[command.words.index("install") + 1 :])
    named: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in _TAKING_VALUE:
            skip = True
        elif not word.startswith("-") and not word.startswith((".", "/", "$")) and not word.endswith(".whl"):
            named.append(word)
    return named


def unhashed(picture: Picture) -> Iterator[Hit]:
    """A version can be published again with other bytes; a hash cannot."""
    for item in installed(picture):
        pinned = [entry for entry in item.entries if entry.version is not None]
        bare = [entry for entry in pinned if not entry.hashed]
        if bare and len(pinned) == len(item.entries):
            yield Hit(bare[0].place, f"{len(bare)} of {len(pinned)} packages in {item.path} carry no hash")


def incomplete(picture: Picture) -> Iterator[Hit]:
    """Pins of what is imported say nothing of what that imports: the rest floats."""
    for item in installed(picture):
        if not item.entries or any(entry.version is None for entry in item.entries):
            continue
        missing = sorted(_closure(item) - item.names)
        if missing:
            total = len(item.names) + len(missing)
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            message = f"{item.path} pins {len(item.names)} of at least {total} packages; these float: "
            yield Hit(item.entries[0].place, message + ", ".join(missing[:5]) + more)


def _closure(item: RequirementsFile) -> set[str]:
    """Everything that the packages of a file are known to need, and what that needs, in whatever version."""
    found: set[str] = set()
    waiting = [(entry.name, entry.version, entry.extras) for entry in item.entries]
    while waiting:
        name, version, extras = waiting.pop()
        for row in _table("closure").get(name, ()):
            needed = set(row["needs"]) - found if _asked(row, version, extras) else set()
            found |= needed
            waiting += [(child, None, frozenset()) for child in needed if child not in item.names]
    return found


def _asked(row: dict[str, Any], version: str | None, extras: frozenset[str]) -> bool:
    """Whether a row of the table holds for a version, and for the extras that are asked for."""
    if row.get("extra") and row["extra"] not in extras:
        return False
    if not row["versions"]:
        return True
    return version is not None and SpecifierSet(row["versions"]).contains(version, prereleases=True)


def blocked_fix(picture: Picture) -> Iterator[Hit]:
    """A pin whose own bounds keep a fixed version of another package out."""
    for item in installed(picture):
        for entry in item.entries:
            rows = [row for row in _table("blocking") if row["package"] == entry.name]
            blocked = [row for row in rows if entry.version and _older(entry.version, row["below"])]
            if blocked:
                fixed = ", ".join(row["advisory"] for row in blocked)
                yield Hit(
                    entry.place, f"{entry.name} {entry.version} keeps out {blocked[-1]['fix']}, which fixes {fixed}"
                )


def _older(version: str, bound: str) -> bool:
    try:
        return Version(version) < Version(bound)
    except InvalidVersion:
        return False


def contract_mismatch(picture: Picture) -> Iterator[Hit]:
    """A model library other than the one that the golden cases passed with may predict otherwise."""
    for contract in picture.contracts.values():
        environment = contract.get("environment")
        proven = environment.get("distributions") if isinstance(environment, dict) else None
        for item in installed(picture):
            for entry in item.entries:
                want = proven.get(entry.name) if isinstance(proven, dict) else None
                if entry.name in _MODEL_LIBRARIES and entry.version and want and want != entry.version:
                    yield Hit(
                        entry.place,
                        f"{entry.name} {entry.version} is installed, but the release was validated with {want}",
                    )


def disagreeing_pins(picture: Picture) -> Iterator[Hit]:
    """Two files pin one package differently: what is tested is not what is shipped."""
    for item in installed(picture):
        pins = {entry.name: entry for entry in item.entries if entry.version}
        for other in picture.requirements:
            if other is item or other.path.rpartition("/")[0] != item.path.rpartition("/")[0]:
                continue
            for entry in other.entries:
                mine = pins.get(entry.name)
                if mine is not None and entry.version and entry.version != mine.version:
                    yield Hit(
                        entry.place,
                        f"{entry.name} is pinned to {entry.version} here and to {mine.version} in {item.path}",
                    )


def stale_lock(picture: Picture) -> Iterator[Hit]:
    """A requirement that the lock does not have was added and never locked."""
    locks = {item.path.rsplit(".", 1)[0]: item for item in installed(picture) if item.hashed}
    for source in picture.requirements:
        lock = locks.get(source.path.rsplit(".", 1)[0]) if source.abstract else None
        for entry in source.entries if lock else ():
            if lock and entry.name not in lock.names:
                yield Hit(entry.place, f"{entry.name} is not in {lock.path}")


def foreign_index(picture: Picture) -> Iterator[Hit]:
    """With a second index, whoever publishes a name there decides what is installed."""
    hashed = {item.path for item in picture.requirements if item.hashed}
    for item in picture.requirements:
        for text, place in item.options:
            if item.path not in hashed and re.match(r"--(extra-index-url|trusted-host)\b", text):
                yield Hit(place, f"{text.split()[0].partition('=')[0]} lets another host decide what is installed")
    for where, command in _pip_installs(picture):
        if command.has("--extra-index-url", "--trusted-host") and not command.has("--require-hashes"):
            yield Hit(where, "a second or untrusted index decides what is installed")


def moving_source(picture: Picture) -> Iterator[Hit]:
    """A branch is another commit tomorrow."""
    for item in picture.requirements:
        for entry in item.entries:
            url = entry.url or ""
            if url.startswith("git+") and not re.search(r"@[0-9a-f]{40}", url):
                yield Hit(entry.place, f"{entry.name} is taken from a branch or tag, not from a commit")
            elif url.startswith("http://"):
                yield Hit(entry.place, f"{entry.name} is fetched without TLS")


def development_tools(picture: Picture) -> Iterator[Hit]:
    """Tools for the desk in a clinical image: more to load, to scan and to abuse."""
    for item in installed(picture):
        for entry in item.entries:
            if picture.dockerfiles and entry.name in _DEVELOPMENT:
                yield Hit(entry.place, f"{entry.name} is a tool for development")


_PROVIDED_BY = {
    "sklearn": "scikit-learn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "onnxruntime": "onnxruntime",
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "joblib": "joblib",
    "fastapi": "fastapi",
    "flask": "flask",
    "pydantic": "pydantic",
    "uvicorn": "uvicorn",
    "gunicorn": "gunicorn",
    "hypercorn": "hypercorn",
    "requests": "requests",
    "httpx": "httpx",
}
"""Import names and programs of serving code, with the distribution of each."""

_FLAVOURS = {
    "xgboost": ("xgboost-cpu",),
    "onnxruntime": ("onnxruntime-gpu",),
    "pydantic": ("fastapi",),
}
"""Other distributions that bring the same import, or bring it along by their own promise."""


def undeclared(picture: Picture) -> Iterator[Hit]:
    """What is imported and only locked because something else needs it is gone at the next lock."""
    sources = [item for item in picture.requirements if item.abstract] or installed(picture)
    if (
        len(sources) != 1
        or len(picture.dockerfiles) != 1
        or any(text.startswith("-r") for text, _ in sources[0].options)
    ):
        return
    (source,) = sources
    directory = source.path.rpartition("/")[0]
    (image,) = picture.dockerfiles
    copied = [source.strip("./") for item in image.final_instructions("COPY", "ADD") for source in item.values[:-1]]
    shipped = [app for app in picture.applications if any(_within(app.path, source) for source in copied)]
    used = {name: app.path for app in shipped for name in imported(app.tree)}
    command = image.start_command()
    used |= {command.program: image.path} if command else {}
    for name, path in used.items():
        wanted = _PROVIDED_BY.get(name)
        beside = path.startswith(directory + "/") if directory else True
        brought = any("standard" in entry.extras for entry in source.entries)  # fastapi[standard] brings its server
        named = {wanted, *_FLAVOURS.get(name, ())} & source.names or (brought and name == "uvicorn")
        if wanted and beside and source.entries and not named:
            yield Hit(source.entries[0].place, f"{path} uses {name}, which {source.path} does not name")


def _within(path: str, source: str) -> bool:
    """Whether a file lies at or below what a COPY names, wherever the context begins."""
    return not source or f"/{source}/" in f"/{path}/"
