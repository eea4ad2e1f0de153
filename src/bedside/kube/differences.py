"""What would change: two forms of one object compared field by field. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_OWN: Final = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"})
"""Of metadata: what the API server itself writes at every change."""

_KEYS: Final = ("name", "containerPort", "mountPath", "port", "topologyKey", "type", "ip", "key")
"""By which entries of a list are recognised; the first that all of them have, each once."""

_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Change:
    """One field. ``None`` is a field that is not there."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One object.

    Attributes:
        title: Kind and name.
        is_new: Whether it is not there yet.
        is_gone: Whether it would be deleted.
        changes: Its fields that would be otherwise.
    """

    title: str
    is_new: bool = False
    is_gone: bool = False
    changes: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not (self.is_new or self.is_gone or self.changes)


def compare(title: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Difference:
    """Return what makes ``after`` of ``before``; status and what the API server keeps for itself are left out."""
    if before is None:
        return Difference(title, is_new=True)
    return Difference(title, changes=tuple(_changes("", _comparable(before), _comparable(after))))


def _comparable(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in item.get("metadata", {}).items() if key not in _OWN}
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}


def _changes(path: str, before: Any, after: Any) -> Iterator[Change]:  # noqa: ANN401 - any JSON value
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from _changes(_below(path, key), before.get(key), after.get(key))
        return
    if isinstance(before, list) and isinstance(after, list) and (key := _key(before, after)):
        ours, theirs = ({str(item[key]): item for item in items} for items in (before, after))
        for name in dict.fromkeys((*ours, *theirs)):
            yield from _changes(f"{path}[{name}]", ours.get(name), theirs.get(name))
        return
    yield Change(path, _shown(before), _shown(after))


def _below(path: str, key: str) -> str:
    shown = f"[{key}]" if "." in key or "/" in key else key
    return f"{path}.{shown}" if path and not shown.startswith("[") else f"{path}{shown}"


def _key(before: Sequence[Any], after: Sequence[Any]) -> str | None:
    every = [*before, *after]
    if not every or not all(isinstance(item, Mapping) for item in every):
        return None
    for key in _KEYS:
        if all(key in item for item in every) and all(
            len({str(item[key]) for item in items}) == len(items) for items in (before, after)
        ):
            return key
    return None


def _shown(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    if value is None:
        return None
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
