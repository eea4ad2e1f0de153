"""One record of a prediction log as one line of a table."""

from itertools import islice
from typing import Final, assert_never

import msgspec

from bedside.audit.entries import Entry
from bedside_runtime.audit import record

_COLUMNS: Final = "{:<27}  {:<10}  {:<32}  {:<16}  {}"
_SHOWN: Final = 4
"""Rows of a request that are shown."""

HEADER: Final = _COLUMNS.format("TIME", "KIND", "REQUEST", "CALLER", "ANSWER")


def line(entry: Entry) -> str:
    """Return ``entry`` as a line below ``HEADER``."""
    body = entry.body
    request = caller = ""
    if isinstance(body, record.Prediction | record.Refusal):
        request, caller = body.request, body.caller or "-"
    return _COLUMNS.format(entry.line.time, entry.kind, request, caller, _said(body)).rstrip()


def _said(body: record.Body) -> str:
    match body:
        case record.Prediction():
            more = len(body.outputs) - _SHOWN
            shown = [_output(output) for output in islice(body.outputs, _SHOWN)]
            return "; ".join([*shown, *([f"and {more} more"] if more > 0 else [])])
        case record.Refusal():
            return f"{body.status} {body.code}"
        case record.Lifecycle():
            return f"{body.event} ({body.reason})" if body.reason else body.event
        case record.Genesis():
            who = body.identity
            return f"segment {body.segment} of {who.model} {who.version}, {who.release}, boot {who.boot}"
        case record.Checkpoint():
            return "signed: " + body.note.split("\n")[1]
        case record.Heartbeat():
            return "ready" if body.ready else "not ready"
        case record.End():
            return f"end of the segment ({body.reason})"
        case _:
            assert_never(body)


def _output(output: record.Output) -> str:
    flags = [f"[{flag.input} {flag.code}]" for flag in output.flags]
    return " ".join([msgspec.json.encode(output.value).decode(), *([output.band] if output.band else []), *flags])
