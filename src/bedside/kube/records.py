"""What was deployed, kept in the cluster: one Secret a deploy, with its manifests and the cases that prove them.

A Secret and not a ConfigMap, because golden cases are rows of a study. It holds no key and no credential: objects
name those by reference. Compressed, it stays far below the API server's bound of 1 MiB; cases that do not fit are
left out. Pure.
"""

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import msgspec

from bedside.errors import GateRefused, UsageError
from bedside.kube.asking import Case, Expected
from bedside.kube.cluster.kinds import SECRET
from bedside_runtime.contract import Output

KEPT: Final = 10
"""How many records of a model are kept, as many as the Deployment keeps ReplicaSets."""

TYPE: Final = "bedside.dev/release"
OF: Final = "bedside.dev/record-of"
STATE: Final = "bedside.dev/state"
_REVISION: Final = "bedside.dev/revision"
_WHY: Final = "bedside.dev/why"
_FORMAT: Final = 1
_LARGEST: Final = 900 * 1024
_CASES: Final = 256 * 1024
"""Bytes of golden cases, not compressed."""

_MOST_CASES: Final = 50
_UNPACKED: Final = 64 * 2**20


class State(StrEnum):
    """What became of it."""

    PENDING = "pending"
    GOOD = "good"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Record:
    """One deploy.

    Attributes:
        revision: Counts up from 1 for each model in a namespace.
        name: Of the model.
        namespace: Where it was deployed.
        version: Of the release.
        image: Reference by digest.
        time: When it began, ISO 8601, UTC.
        by: Who the API server took the deployer for.
        objects: Every object, in the order of applying.
        expected: How its pods prove themselves.
        state: What became of it.
        why: Why it failed, one sentence.
        rolled_back: The revision that was taken up again, where it was a rollback.
        foreign: Whether a Deployment of this name was there that bedside had not made.
    """

    revision: int
    name: str
    namespace: str
    version: str
    image: str
    time: str
    by: str
    objects: tuple[Mapping[str, Any], ...]
    expected: Expected
    state: State = State.PENDING
    why: str = ""
    rolled_back: int | None = None
    foreign: bool = False

    @property
    def digest(self) -> str:
        """Of the release, ``sha256:...``."""
        return self.expected.digest

    @property
    def title(self) -> str:
        """Version, revision and digest, as people say them."""
        return f"{self.version} (revision {self.revision}, {self.digest[:19]})"

    def find(self, kind: str) -> Mapping[str, Any] | None:
        """Return the object of a kind that there is one of."""
        return next((item for item in self.objects if item["kind"] == kind), None)


def encode(record: Record) -> dict[str, Any]:
    """Return the Secret.

    Raises:
        GateRefused: It is larger than a cluster holds.
    """
    payload = json.dumps(_payload(record), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    packed = gzip.compress(payload, 9, mtime=0)
    if len(packed) > _LARGEST:
        raise GateRefused(
            f"the manifests of {record.name} have {len(packed) >> 10} KiB compressed; a cluster keeps {_LARGEST >> 10}",
            remedy="Switch off what is not needed in [deploy], for example the dashboard.",
        )
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "metadata": {
            "name": secret_name(record.name, record.revision),
            "namespace": record.namespace,
            "labels": {"app.kubernetes.io/managed-by": "bedside", OF: record.name, STATE: str(record.state)},
            "annotations": {_REVISION: str(record.revision), _WHY: record.why},
        },
        "type": TYPE,
        "immutable": True,
        "data": {"record": base64.b64encode(packed).decode("ascii")},
    }


def decode(secret: Mapping[str, Any]) -> Record:
    """Return the record in a Secret.

    Raises:
        UsageError: It is none, or of a later version of bedside.
    """
    name = secret["metadata"]["name"]
    remedy = (
        f"Another version of bedside wrote it, or somebody changed it; delete the Secret {name} to go on without it."
    )
    try:
        value = json.loads(_unpacked(base64.b64decode(secret["data"]["record"], validate=True)))
        if value["format"] != _FORMAT:
            raise UsageError(
                f"the record {name} has format {value['format']}; this bedside reads {_FORMAT}", remedy=remedy
            )
        metadata = secret["metadata"]
        expected = value["expected"]
        cases = tuple(Case(item["id"], item["inputs"], item["expected"]) for item in expected["cases"])
        return Record(
            revision=int(value["revision"]),
            name=value["name"],
            namespace=value["namespace"],
            version=value["version"],
            image=value["image"],
            time=value["time"],
            by=value["by"],
            objects=tuple(value["objects"]),
            expected=Expected(
                value["digest"],
                msgspec.convert(expected["output"], Output),
                float(expected["tolerance"]),
                cases,
                str(expected["name"]),
            ),
            state=State(metadata["labels"][STATE]),
            why=(metadata.get("annotations") or {}).get(_WHY, ""),
            rolled_back=value["rolled_back"],
            foreign=bool(value["foreign"]),
        )
    except (KeyError, TypeError, ValueError, EOFError, OSError, zlib.error, binascii.Error, msgspec.ValidationError):
        raise UsageError(f"the record {name} cannot be read", remedy=remedy) from None


def secret_name(name: str, revision: int) -> str:
    """Return what the Secret of a record is called."""
    return f"{name}-release-{revision}"


def change(state: State, why: str = "") -> dict[str, Any]:
    """Return the patch that says what became of a record."""
    return {"metadata": {"labels": {STATE: str(state)}, "annotations": {_WHY: why[:1000]}}}


def keepable(expected: Expected) -> Expected:
    """Return ``expected`` with as many of its cases as a record holds; none where already the first is too large."""
    kept: list[Case] = []
    size = 0
    for case in expected.cases[:_MOST_CASES]:
        size += len(json.dumps(dict(case.inputs)))
        if size > _CASES:
            break
        kept.append(case)
    return replace(expected, cases=tuple(kept))


def last_good(records: Sequence[Record], before: int | None = None) -> Record | None:
    """Return the newest record that was proven, of those before a revision."""
    good = [item for item in records if item.state is State.GOOD and (before is None or item.revision < before)]
    return max(good, key=lambda item: item.revision, default=None)


def superfluous(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return those that need not be kept: all but the newest, and never the last good one."""
    ordered = sorted(records, key=lambda item: item.revision, reverse=True)
    good = last_good(records)
    return tuple(item for item in ordered[KEPT:] if item is not good)


def _payload(record: Record) -> dict[str, Any]:
    expected = record.expected
    return {
        "format": _FORMAT,
        "revision": record.revision,
        "name": record.name,
        "namespace": record.namespace,
        "version": record.version,
        "digest": expected.digest,
        "image": record.image,
        "time": record.time,
        "by": record.by,
        "rolled_back": record.rolled_back,
        "foreign": record.foreign,
        "objects": [dict(item) for item in record.objects],
        "expected": {
            "output": msgspec.to_builtins(expected.output),
            "tolerance": expected.tolerance,
            "name": expected.name,
            "cases": [
                {"id": case.id, "inputs": dict(case.inputs), "expected": case.expected} for case in expected.cases
            ],
        },
    }


def _unpacked(packed: bytes) -> bytes:
    """Unpack, but never without end."""
    unpacker = zlib.decompressobj(wbits=31)
    data = unpacker.decompress(packed, _UNPACKED)
    if not unpacker.eof:
        raise ValueError("cut off, or far too large")
    return data
