"""What every object of the API is made of: frozen values with the fields of the API, in reading order."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | bool"
"""What YAML holds. Numbers and texts may be `reasons`."""


class Part(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of an object. ``None`` is a field that is left out; an empty mapping or tuple is written."""

    def plain(self) -> dict[str, Plain]:
        """Return what is written: names as in the API, without what is left out."""
        fields = msgspec.structs.fields(self)
        named = ((field.encode_name, getattr(self, field.name)) for field in fields)
        return {name: _plain(value) for name, value in named if value is not None}


class Metadata(Part, frozen=True, kw_only=True):
    """Who an object is."""

    name: str
    namespace: str | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None


class LabelSelector(Part, frozen=True, kw_only=True):
    """Which pods; an empty one is all."""

    match_labels: Mapping[str, str] | None = None


class Resource(Part, frozen=True, kw_only=True):
    """A whole object."""

    api_version: str
    kind: str
    metadata: Metadata

    @property
    def title(self) -> str:
        """Kind and name, as people say them."""
        return f"{self.kind} {self.metadata.name}"


def _plain(value: Any) -> Plain:  # noqa: ANN401 - any field of any part
    if isinstance(value, Part):
        return value.plain()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | int):  # bool is an int
        return value
    raise TypeError(f"{type(value).__name__} has no place in an object")
