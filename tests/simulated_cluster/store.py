"""What the API server keeps: objects, their versions, and every change for those who watch."""

import copy
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Key = tuple[str, str, str]
"""Resource with its group and version (``apps/v1/deployments``), namespace, name."""


@dataclass(frozen=True)
class Event:
    version: int
    type: str
    resource: str
    item: dict[str, Any]


@dataclass
class Store:
    """Everything, behind one lock."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    owners: dict[Key, dict[str, set[tuple[str, ...]]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    version: int = 1
    forgotten: int = 0
    """Changes up to this version are remembered no more: who watches from there is told 410."""

    def __post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)

    def all(self, resource: str, namespace: str | None = None) -> list[dict[str, Any]]:
        with self.lock:
            found = [(key, item) for key, item in self.objects.items() if key[0] == resource]
            return [item for key, item in found if namespace is None or key[1] == namespace]

    def get(self, resource: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((resource, namespace, name))

    def put(self, resource: str, item: dict[str, Any]) -> dict[str, Any]:
        """Store ``item``; nothing happens where nothing changed."""
        with self.lock:
            metadata = item["metadata"]
            key = (resource, metadata.get("namespace", ""), metadata["name"])
            before = self.objects.get(key)
            if before is not None and _without_version(before) == _without_version(item):
                return before
            item = copy.deepcopy(item)
            metadata = item["metadata"]
            self.version += 1
            metadata["resourceVersion"] = str(self.version)
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata.setdefault("creationTimestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            if "spec" in item:
                same = before is not None and before.get("spec") == item.get("spec")
                generation = before["metadata"].get("generation", 1) if before is not None else 0
                metadata["generation"] = generation if same else generation + 1
            self.objects[key] = item
            self._tell("MODIFIED" if before is not None else "ADDED", resource, item)
            return item

    def delete(self, resource: str, namespace: str, name: str) -> None:
        with self.lock:
            key = (resource, namespace, name)
            item = self.objects.pop(key, None)
            self.owners.pop(key, None)
            if item is not None:
                self.version += 1
                gone = copy.deepcopy(item)
                gone["metadata"]["resourceVersion"] = str(self.version)
                self._tell("DELETED", resource, gone)

    def update(self, resource: str, item: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
        """Change the newest form of ``item``, where it is still there."""
        with self.lock:
            metadata = item["metadata"]
            there = self.get(resource, metadata.get("namespace", ""), metadata["name"])
            if there is not None and there["metadata"]["uid"] == metadata["uid"]:
                changed = copy.deepcopy(there)
                change(changed)
                self.put(resource, changed)

    def forget(self) -> None:
        """Forget every change so far, as etcd does when it compacts."""
        with self.lock:
            self.forgotten = self.version
            self.events.clear()
            self.changed.notify_all()

    def since(self, version: int, resource: str) -> Iterator[Event]:
        return (event for event in self.events if event.version > version and event.resource == resource)

    def _tell(self, kind: str, resource: str, item: dict[str, Any]) -> None:
        self.events.append(Event(self.version, kind, resource, item))
        self.changed.notify_all()


def _without_version(item: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
    return {**item, "metadata": metadata}
