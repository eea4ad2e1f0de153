"""Records as flat rows for analysis: one for every answered row, one for every other record. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias, assert_never

import msgspec

from bedside.audit.entries import Entry
from bedside_runtime.audit import record

Row: TypeAlias = dict[str, Any]


def rows(entry: Entry, inputs: Sequence[Mapping[str, object]] | None) -> list[Row]:
    """Return the rows of ``entry``, each with the columns that it fills.

    Args:
        entry: The record.
        inputs: Its opened inputs, one a row; ``None`` where they are not.
    """
    identity, line = entry.genesis.identity, entry.line
    common: Row = {
        "pod": identity.pod,
        "boot": identity.boot,
        "segment": entry.genesis.segment,
        "seq": line.seq,
        "time": datetime.fromisoformat(line.time),
        "mono_us": line.mono,
        "kind": entry.kind,
        "model": identity.model,
        "version": identity.version,
        "release": identity.release,
        "image": identity.image,
        "hash": line.hash,
    }
    return [common | row for row in _said(entry.body, inputs)]


def _said(body: record.Body, inputs: Sequence[Mapping[str, object]] | None) -> Iterator[Row]:
    match body:
        case record.Prediction():
            yield from _answers(body, inputs)
        case record.Refusal():
            request = {"request": body.request, "caller": body.caller, "duration_us": body.duration_us}
            yield request | {"status": body.status, "code": body.code}
        case record.Lifecycle():
            yield {"event": body.event, "reason": body.reason}
        case record.Heartbeat():
            yield {"event": "ready" if body.ready else "not-ready"}
        case record.End():
            yield {"event": "end", "reason": body.reason}
        case record.Genesis() | record.Checkpoint():
            yield {}
        case _:
            assert_never(body)


def _answers(body: record.Prediction, inputs: Sequence[Mapping[str, object]] | None) -> Iterator[Row]:
    digests = body.inputs if isinstance(body.inputs, tuple) else None
    for number, output in enumerate(body.outputs):
        is_number = isinstance(output.value, int | float) and not isinstance(output.value, bool)
        yield {
            "request": body.request,
            "caller": body.caller,
            "row": number,
            "value": float(output.value) if is_number else None,
            "label": None if is_number else str(output.value),
            "band": output.band,
            "flags": [{"code": flag.code, "input": flag.input} for flag in output.flags],
            "batch": body.batch,
            "duration_us": body.duration_us,
            "inputs_hmac": digests[number] if digests else None,
            "inputs": msgspec.json.encode(inputs[number]).decode() if inputs else None,
        }
