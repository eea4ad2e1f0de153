"""What every framework's adapter gives: a model in memory, not yet tied to inputs and an output."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from bedside_runtime.adapters.code import Transform
from bedside_runtime.adapters.columns import Columns, Layout, transformed
from bedside_runtime.contract import Global, Input, Output, Row, Scalar

Ask: TypeAlias = Callable[[Any], Any]
"""The model's own input in, one value a row out, in a one-dimensional NumPy array."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What inspecting a model's file found.

    Attributes:
        globals: All that unpickling it resolves.
        trained_with: Versions that the file says it was made with.
    """

    globals: tuple[Global, ...] = ()
    trained_with: dict[str, str] = field(default_factory=dict)


class Opened(Protocol):
    """A model of one framework, in memory."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """Its own feature names in its own order; ``None`` where it has none."""
        ...

    @property
    def count(self) -> int | None:
        """How many features it takes, where it says so."""
        ...

    def layout(self, inputs: Sequence[Input]) -> Layout:
        """Return what it has to be handed."""
        ...

    def columns(self, layout: Layout, features: Sequence[str], inputs: Sequence[Input]) -> Columns:
        """Return what turns rows into that."""
        ...

    def ask(self, output: Output) -> Ask:
        """Return what asks it for ``output``.

        Raises:
            ModelMismatch: It cannot answer that.
        """
        ...


class ModelPredictor:
    """Answers rows with a model, exactly as the model would be asked directly."""

    def __init__(self, ask: Ask, columns: Columns) -> None:
        self._ask = ask
        self._columns = columns

    def predict(self, rows: Sequence[Row]) -> Sequence[Scalar]:
        """Return one raw value a row, as Python scalars; see ``Predictor``."""
        values: list[Scalar] = self._ask(self._columns(rows)).tolist()
        return values


def bind(
    opened: Opened,
    layout: Layout,
    features: Sequence[str],
    inputs: Sequence[Input],
    output: Output,
    transform: Transform | None,
) -> ModelPredictor:
    """Put a model, its columns and the declared output together.

    Raises:
        ModelMismatch: It cannot answer what is declared, or its features are not the inputs.
        LibraryMissing: A frame is needed and pandas is not installed.
    """
    columns = transformed(transform, inputs) if transform else opened.columns(layout, features, inputs)
    return ModelPredictor(opened.ask(output), columns)
