"""ONNX graphs, run by ONNX Runtime on one CPU thread from memory."""

from collections.abc import Callable, Sequence
from typing import Any, assert_never

from bedside_runtime.adapters.boosters import array
from bedside_runtime.adapters.columns import Columns, Layout, match
from bedside_runtime.adapters.estimators import positive_column
from bedside_runtime.adapters.opened import Ask
from bedside_runtime.contract import Input, Output, Row
from bedside_runtime.errors import LibraryMissing, ModelMismatch

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
_FLOATS = frozenset({"tensor(float)", "tensor(double)"})
_LABELS = frozenset({"tensor(int64)", "tensor(int32)", "tensor(string)", "tensor(bool)"})
_EXTERNAL = b"\x0a\x08location\x12"
"""How a tensor says that its data lies in another file (TensorProto.external_data, key ``location``)."""


class Model:
    """A graph with one input for all features, or one input a feature."""

    def __init__(self, data: bytes) -> None:
        if _EXTERNAL in data:
            raise ModelMismatch(
                "the ONNX model keeps weights in another file, which no digest covers",
                remedy="Save it with all its data in one file.",
            )
        self._session = _session(data)
        self._inputs: list[Any] = self._session.get_inputs()
        for item in self._inputs:
            if item.type not in _DTYPES:
                raise ModelMismatch(f"the ONNX input {item.name} is a {item.type}, which no declared input can fill")
        self._one = len(self._inputs) == 1 and self._width(self._inputs[0]) != 1

    @property
    def names(self) -> tuple[str, ...] | None:
        """The graph's input names where each is one feature."""
        return None if self._one else tuple(item.name for item in self._inputs)

    @property
    def count(self) -> int | None:
        """How many features it takes; ``None`` where the graph leaves the width open."""
        return self._width(self._inputs[0]) if self._one else len(self._inputs)

    def layout(self, _: Sequence[Input]) -> Layout:
        """Return ``array`` for one input with all features, ``tensors`` for one a feature."""
        return "array" if self._one else "tensors"

    def columns(self, layout: Layout, features: Sequence[str], inputs: Sequence[Input]) -> Columns:  # noqa: ARG002 - the graph decides
        """Return what turns rows into the session's feed, input name to array."""
        import numpy as np

        match(features, None, inputs)
        places = {item.name: place for place, item in enumerate(inputs)}
        declared = {item.name: item for item in inputs}
        order = tuple(places[name] for name in features)
        if self._one:
            whole, kind = self._inputs[0].name, _DTYPES[self._inputs[0].type]
            for name in features:
                _check(declared[name], self._inputs[0].type)
            return lambda rows: {whole: np.array([[row[place] for place in order] for row in rows], dtype=kind)}
        plan = [(item.name, places[item.name], _DTYPES[item.type], len(item.shape)) for item in self._inputs]
        for item in self._inputs:
            _check(declared[item.name], item.type)

        def tensors(rows: Sequence[Row]) -> dict[str, Any]:
            feed = {}
            for name, place, kind, axes in plan:
                column = np.array([row[place] for row in rows], dtype=kind)
                feed[name] = column.reshape((len(rows),) + (1,) * (axes - 1))
            return feed

        return tensors

    def ask(self, output: Output) -> Ask:
        """Return what asks it; see ``Opened``."""
        match output.type:
            case "probability":
                return self._probability(output)
            case "class":
                return self._run(self._only(_LABELS, "a class label"))
            case "value":
                return self._run(self._only(_FLOATS, "a value"))
            case _:
                assert_never(output.type)

    def labels_and_scores(self) -> Callable[[Any], tuple[Any, Any]]:
        """Return what asks a classifier for both: labels of shape (rows,), scores of shape (rows, classes) or (rows,).

        Raises:
            ModelMismatch: The graph does not answer one of each.
        """
        session = self._session
        names = [self._only(_LABELS, "a class label").name, self._only(_FLOATS, "scores").name]

        def asked(feed: Any) -> tuple[Any, Any]:  # noqa: ANN401 - a NumPy array
            labels, scores = session.run(names, feed)
            return array(labels), array(scores)

        return asked

    def _probability(self, output: Output) -> Ask:
        found = self._only(
            _FLOATS | {"seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))"}, "probabilities"
        )
        if found.type.startswith("seq"):
            return self._of_maps(found, output)
        asked, width = self._run(found), found.shape[-1] if len(found.shape) == 2 else 1
        if width == 1:
            positive_column([1], output.positive)
            return asked
        if not isinstance(width, int):
            raise ModelMismatch(
                "the graph does not say how many classes it answers", remedy="Export it with a fixed number of classes."
            )
        column = positive_column(list(range(width)), output.positive)
        return lambda values: asked(values)[:, column]

    def _of_maps(self, found: Any, output: Output) -> Ask:  # noqa: ANN401 - a node without types
        import numpy as np

        session, name, positive = self._session, found.name, output.positive
        kind: type = str if "string" in found.type else int
        if isinstance(positive, bool) or not isinstance(positive, kind):
            raise ModelMismatch(f"the graph's classes are of type {kind.__name__}; positive is {positive!r}")

        def asked(feed: Any) -> Any:  # noqa: ANN401 - a NumPy array
            (maps,) = session.run([name], feed)
            if positive not in maps[0]:
                positive_column(list(maps[0]), positive)
            return np.array([item[positive] for item in maps], dtype=np.float64)

        return asked

    def _run(self, found: Any) -> Ask:  # noqa: ANN401 - a node without types
        session, name = self._session, found.name
        return lambda feed: array(session.run([name], feed)[0])

    def _only(self, kinds: frozenset[str], what: str) -> Any:  # noqa: ANN401 - a node without types
        found = [item for item in self._session.get_outputs() if item.type in kinds]
        if len(found) == 1:
            return found[0]
        named = ", ".join(f"{item.name} ({item.type})" for item in self._session.get_outputs())
        raise ModelMismatch(
            f"the graph has {len(found)} outputs that could be {what}; it answers: {named}",
            remedy="Export it with one such output, and declare under [output] what it answers.",
        )

    @staticmethod
    def _width(item: Any) -> int | None:  # noqa: ANN401 - a node without types
        if len(item.shape) < 2:
            return 1
        return item.shape[-1] if isinstance(item.shape[-1], int) else None


def _check(declared: Input, kind: str) -> None:
    """Refuse an input whose values the tensor ``kind`` cannot hold without loss."""
    text = declared.type == "category"
    if text != (kind == "tensor(string)"):
        raise ModelMismatch(f"{declared.name} is declared as {declared.type}; the graph takes {kind}")
    if declared.missing == "allow" and kind not in _FLOATS:
        raise ModelMismatch(
            f"{declared.name} may be missing, and {kind} has no missing value",
            remedy='Declare missing = "reject", or export the graph with a float input.',
        )
    if declared.type == "number" and kind not in _FLOATS:
        raise ModelMismatch(f"{declared.name} is declared as number; the graph takes {kind}")


def _session(data: bytes) -> Any:  # noqa: ANN401 - a class without types
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError:
        raise LibraryMissing(
            "the model is an ONNX graph, and onnxruntime is not installed", remedy="Add onnxruntime to requirements.in."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except (state.Fail, state.InvalidGraph, state.InvalidProtobuf, state.InvalidArgument, state.RuntimeException):
        why = "cannot be read as ONNX"
    except UnicodeDecodeError:  # a name of the graph, or the library's message with such a name in it
        why = "holds a name that is no text"
    except (state.NotImplemented, state.NoSuchFile):
        why = "uses an operator that onnxruntime does not have"
    raise ModelMismatch(f"the model file {why}", remedy="Export it again with all its data and standard operators.")
