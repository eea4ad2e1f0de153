"""`bedside rollback`: a release that ran before, applied again as a whole, and proven again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bedside.errors import UsageError
from bedside.kube import history, records
from bedside.kube.asking import Expected
from bedside.kube.records import Record, State
from bedside.stages.rollouts import SILENT, USUAL, Choices, Cluster, Order, Proven, Watch, roll_out

_SHORTEST: Final = 8
"""Characters of a digest that name a release."""


def rollback(
    cluster: Cluster,
    name: str,
    namespace: str,
    to: str | None = None,
    *,
    choices: Choices = USUAL,
    watch: Watch = SILENT,
    known: Expected | None = None,
) -> Proven:
    """Bring a recorded release back: labels, configuration and model together, as one forward deploy of its manifests.

    Args:
        cluster: Where.
        name: Of the model.
        namespace: Where.
        to: Revision, version or digest; by default the one that was good before the one that runs.
        choices: How. Fields that others took since then are always taken back.
        watch: Told how it goes.
        known: What its pods must answer, where the record keeps no golden case.

    Raises:
        UsageError: There is no such record, or nothing to prove it by.
        BedsideError: As `rollouts.roll_out`.
    """
    record = chosen(history.read(cluster.session, namespace, name), name, namespace, to)
    expected = _expected(record, known)
    order = Order(
        name=record.name,
        namespace=record.namespace,
        version=record.version,
        image=record.image,
        objects=record.objects,
        expected=expected,
        rolled_back=record.revision,
    )
    watch.note(f"going back to {record.title}, deployed {record.time}")
    return roll_out(cluster, order, replace(choices, take_over=True), watch)


def chosen(found: Sequence[Record], name: str, namespace: str, to: str | None) -> Record:
    """Return the record to go back to. Pure.

    Raises:
        UsageError: There is none, or several fit.
    """
    good = [record for record in found if record.state is State.GOOD]
    if to is None:
        last = records.last_good(good)
        interrupted = bool(found) and found[-1].state is State.PENDING
        before = last if interrupted or last is None else records.last_good(good, last.revision)
        if before is None:
            raise UsageError(f"{name} has no earlier good release in {namespace}", remedy=_listed(found))
        return before
    fitting = [record for record in good if _fits(record, to)]
    if not fitting:
        raise UsageError(f"{name} has no good release {to!r} in {namespace}", remedy=_listed(found))
    if len({record.digest for record in fitting}) > 1:
        raise UsageError(f"several releases fit {to!r}", remedy=f"Name one by its revision. {_listed(found)}")
    return fitting[-1]


def _fits(record: Record, to: str) -> bool:
    digest = to.removeprefix("sha256:")
    begins = record.digest.removeprefix("sha256:").startswith(digest)
    return to in (str(record.revision), record.version) or (len(digest) >= _SHORTEST and begins)


def _listed(found: Sequence[Record]) -> str:
    good = ", ".join(f"{item.revision} ({item.version})" for item in found if item.state is State.GOOD)
    return f"Good releases, by revision: {good}." if good else "None was proven there yet: deploy one."


def _expected(record: Record, known: Expected | None) -> Expected:
    if known is not None and known.digest == record.digest:
        return known
    if not record.expected.cases:
        raise UsageError(
            f"the record of {record.title} keeps no golden case, as its cases are too large",
            remedy="Name the release's directory with --release, so that its pods can be asked.",
        )
    return record.expected
