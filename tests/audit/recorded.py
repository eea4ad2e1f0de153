"""Real logs in a folder: the runtime's own recorder, writer and disk, and a release of the small test model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from bedside.audit import keys
from bedside.audit.keys import OPENING_KEY, VERIFICATION_KEY
from bedside_runtime.audit import opening
from bedside_runtime.contract import Audit, encode
from bedside_runtime.inputs import Flag, compile_inputs
from bedside_runtime.service import Caller, Entry, Prediction, Refused
from contracts import INPUTS, contract

POD = "icu-0"
PATIENT: dict[str, Any] = {
    "age": 63,
    "temperature": 37.2,
    "lactate": 1.1,
    "admission": "Emergency",
    "ventilated": False,
}
OTHER = PATIENT | {"age": 64, "lactate": None}
IMAGE = "sha256:" + "cd" * 32
DIGEST = "ab" * 32


@dataclass(frozen=True)
class Recorded:
    """Folder of the pods' logs, keys, and what the pod wrote to stdout."""

    root: Path
    keys: Path
    stdout: Path

    @property
    def folder(self) -> Path:
        return self.root / POD

    @property
    def verification_key(self) -> str:
        return str(self.keys / VERIFICATION_KEY)

    @property
    def opening_key(self) -> Path:
        return self.keys / OPENING_KEY

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"), key=lambda path: path.name[-14:])


def release(directory: Path, audit: Audit | None = None) -> Path:
    """The contract of the small test model alone; no file of it."""
    directory.mkdir(parents=True, exist_ok=True)
    made = msgspec.structs.replace(contract(), audit=audit)
    (directory / "contract.json").write_bytes(encode(made))
    return directory


def record(
    tmp_path: Path,
    payload: Literal["none", "hmac", "encrypted"] = "hmac",
    *,
    signed: bool = True,
    starts: int = 2,
    pod: str = POD,
    crash: bool = False,
) -> Recorded:
    """A log of ``starts`` starts: of each, five predictions of two callers, and a refusal.

    With ``crash``, the last record of all is torn.
    """
    audit = Audit(payload=payload, signed=signed, checkpoint_every=4, low_water_bytes=0)
    found = Recorded(tmp_path / "log", tmp_path / "keys", tmp_path / "stdout")
    if not found.keys.exists():
        made = keys.make("icu-test", audit)
        found.keys.mkdir(parents=True)
        for name, data in {**made.auditor, **made.pod}.items():
            (found.keys / name).write_bytes(data)
    here = opening.Surroundings(found.keys, pod, IMAGE, found.root)
    for start in range(starts):
        asyncio.run(_life(audit, here, found.stdout, start))
    if crash:
        last = max((found.root / pod).glob("*.jsonl"), key=lambda path: path.name[-14:])
        last.write_bytes(last.read_bytes()[:-20])
    return found


async def _life(audit: Audit, here: opening.Surroundings, stdout: Path, start: int) -> None:
    def checkpoint(note: str) -> None:
        with stdout.open("ab") as file:
            file.write(msgspec.json.encode({"event": "audit-checkpoint", "note": note}) + b"\n")

    made = opening.recorder(contract(), audit, DIGEST, here, on_latch=lambda _: None, on_checkpoint=checkpoint)
    await asyncio.to_thread(made.open)
    await made.changed("start")
    await made.changed("ready")
    for number, (caller, patients) in enumerate(
        [("ward-3", [PATIENT]), ("ward-3", [OTHER]), (None, [PATIENT]), ("ward-4", [OTHER, PATIENT]), (None, [OTHER])]
    ):
        await made.record([_entry(f"r-{start}{number}", caller, patients)])
    await made.refused(Refused(Caller(f"r-{start}5", "ward-4"), 422, "invalid-inputs", 0.0001))
    await made.refused(Refused(Caller(f"r-{start}6"), 503, "overloaded", 0.0001))
    await made.changed("drain")
    await made.close()


def _entry(request: str, caller: str | None, patients: Sequence[dict[str, Any]]) -> Entry:
    rows = compile_inputs(INPUTS).rows(patients)
    answers = [_answer(patient) for patient in patients]
    return Entry(Caller(request, caller), [row.cells for row in rows], tuple(answers), 0.00125, len(rows))


def _answer(patient: dict[str, Any]) -> Prediction:
    if patient["lactate"] is None:
        return Prediction(0.5, "high", (Flag("missing", "lactate"),))
    return Prediction(0.125, "low", ())
