"""The model file of a release that does not carry it: from its address to its place, compared on the way."""

from collections.abc import Callable, Mapping
from pathlib import Path

from bedside_runtime import address, loading
from bedside_runtime.contract import DownloadRequest
from bedside_runtime.errors import StorageUnavailable
from bedside_runtime.fetching.download import Fetched, download
from bedside_runtime.fetching.source import Source
from bedside_runtime.signature import Verifies


def fetch(
    directory: Path,
    environ: Mapping[str, str],
    *,
    digest: str | None = None,
    key: Verifies | None = None,
    local: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Fetched | None:
    """Bring the model file of the release in ``directory`` to its place there.

    Args:
        directory: A release.
        environ: Settings of object storage.
        digest: The release digest that it must have.
        key: What its signature must verify with; ``None`` where no key is given.
        local: On an engineer's machine: credentials of the environment count.
        on_progress: Told how many bytes are there, and of how many.

    Returns:
        What was fetched; ``None`` for a release that carries its model.

    Raises:
        IntegrityError, SignatureInvalid, ContractInvalid: The release is not what was validated; nothing was fetched.
        BedsideRuntimeError: See `download` and `stores`.
    """
    # 1. The release around it is the one that was asked for, and signed by the key where one is given.
    # 2. The file comes to its place only with the size and sha256 that this release records.
    found, expected = loading.verified_apart(directory, digest, key)  # 1
    if found.model.source is None:
        return None
    target = directory / expected.path
    _folder(target.parent)
    source = _source(found.model.source, environ, local=local)
    return download(source, target, sha256=expected.sha256, size=expected.size, on_progress=on_progress)  # 2


def download_unreleased(
    asked: DownloadRequest,
    environ: Mapping[str, str],
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Fetched:
    """Bring a model file that no release names yet.

    Raises:
        BedsideRuntimeError: See `download` and `stores`.
    """
    target = Path(asked.target)
    _folder(target.parent)
    source = _source(asked.source, environ, local=True)
    return download(source, target, sha256=asked.sha256, on_progress=on_progress)


def _source(said: str, environ: Mapping[str, str], *, local: bool) -> Source:
    parsed = address.parse(said)
    from bedside_runtime.fetching import stores  # needs the extra `fetch`, which no other release does

    return stores.Stored(parsed, environ, local=local)


def _folder(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailable(
            f"{directory.name}/ cannot be made: {error.strerror}", remedy="Mount a volume for it that can be written."
        ) from None
