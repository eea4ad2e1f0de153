"""Estimators stored as joblib, pickle or skops."""

import warnings
import zipfile
from collections.abc import Collection
from typing import Any

from bedside_runtime.adapters import pickles, policy
from bedside_runtime.adapters.opened import Facts
from bedside_runtime.contract import ArtifactFormat, Global
from bedside_runtime.environment import installed_version
from bedside_runtime.errors import EnvironmentMismatch, LibraryMissing, ModelMismatch

_DISTRIBUTION = "scikit-learn"


def survey(format_: ArtifactFormat, data: bytes, author: Collection[str]) -> Facts:
    """Find out, without running any of it, what loading the file resolves and what it was made with.

    Raises:
        ForbiddenGlobal: It names what no fitted model needs.
        EnvironmentMismatch: It was saved by another scikit-learn than the one installed.
        ModelMismatch: It is damaged.
    """
    if format_ == "skops":
        return Facts(_skops_globals(data, frozenset(author)))
    record = pickles.record(data, author)
    if not record.sklearn_versions:
        return Facts(record.globals)
    here = installed_version(_DISTRIBUTION)
    for saved in record.sklearn_versions:
        if saved != here:
            raise _other_version(saved, here)
    return Facts(record.globals, {_DISTRIBUTION: record.sklearn_versions[0]})


def load(format_: ArtifactFormat, data: bytes, allowed: Collection[Global]) -> Any:  # noqa: ANN401 - any estimator
    """Build the estimator from bytes, resolving the globals in ``allowed`` and no other.

    Raises:
        ForbiddenGlobal: The file names another one.
        EnvironmentMismatch: It was saved by another scikit-learn.
        LibraryMissing: What it needs is not installed.
        ModelMismatch: It is damaged, or holds no estimator.
    """
    with warnings.catch_warnings():
        # xgboost and scikit-learn warn where a file is of another version; here the versions were compared.
        warnings.filterwarnings("error", message="Trying to unpickle estimator")
        try:
            loaded = _skops(data, allowed) if format_ == "skops" else pickles.load(data, allowed)
        except UserWarning as warning:
            raise EnvironmentMismatch(str(warning).split(".\n")[0]) from None
    if not hasattr(loaded, "predict"):
        raise ModelMismatch(
            f"the file holds {type(loaded).__name__}, which cannot predict",
            remedy="Save the fitted model itself, not a dict or a list around it.",
        )
    return loaded


def _other_version(saved: str, here: str | None) -> EnvironmentMismatch:
    return EnvironmentMismatch(
        f"the model was saved with {_DISTRIBUTION} {saved}; installed is {here or 'none'}",
        remedy=f"Write {_DISTRIBUTION}=={saved} in requirements.in, or save the model again and validate it again.",
    )


def _skops(data: bytes, allowed: Collection[Global]) -> Any:  # noqa: ANN401 - any estimator
    io_ = _skops_library()
    try:
        return io_.loads(data, trusted=[f"{item.module}.{item.name}" for item in allowed])
    except (*_SKOPS_GARBLED,) as error:
        raise ModelMismatch(f"the model file cannot be read as skops ({type(error).__name__})") from error


_SKOPS_GARBLED = (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, EOFError, ImportError)


def _skops_globals(data: bytes, author: frozenset[str]) -> tuple[Global, ...]:
    io_ = _skops_library()
    try:
        untrusted: list[str] = io_.get_untrusted_types(data=data)
    except (*_SKOPS_GARBLED,) as error:
        raise ModelMismatch(f"the model file cannot be read as skops ({type(error).__name__})") from error
    found = []
    for dotted in untrusted:
        module, _, name = dotted.rpartition(".")
        item = Global(module=module, name=name)
        use = policy.admit(item, author)
        if not (use.made or use.kept):
            raise policy.refused(item, "a fitted model has no need of it")
        found.append(item)
    return tuple(sorted(found, key=lambda item: (item.module, item.name)))


def _skops_library() -> Any:  # noqa: ANN401 - a module without types
    try:
        import skops.io
    except ImportError:
        raise LibraryMissing("the model is stored as skops, which is not installed") from None
    return skops.io
