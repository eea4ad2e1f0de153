"""A release's model and its card as CycloneDX's modelCard (1.6, machine-learning transparency). Pure.

What the contract says is said exactly: task, inputs with units and ranges, output, framework. What the author's card
says goes where CycloneDX has a place for it; whatever has none is kept as a property, and nothing is left out.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bedside_runtime.contract import Contract, Input

_TASKS: Final[Mapping[str, str]] = {
    "probability": "binary classification",
    "class": "classification",
    "value": "regression",
}
_PLACED: Final = frozenset(
    {"intended_use", "out_of_scope", "training_data", "performance", "subgroups", "limitations", "name", "license"}
)


def of(contract: Contract, card: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Return the modelCard of a release.

    Args:
        contract: The release.
        card: What its author wrote; anything but an object is kept as it is.
    """
    said = card if isinstance(card, dict) else {"card": card} if card is not None else {}
    found: dict[str, Any] = {"modelParameters": _parameters(contract, said)}
    metrics = [*_metrics(said.get("performance"), ""), *_metrics(said.get("subgroups"), "subgroups")]
    if metrics:
        found["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    considerations = _considerations(said)
    if considerations:
        found["considerations"] = considerations
    rest = [_property(key, value) for key, value in sorted(said.items()) if key not in _PLACED]
    return {**found, "properties": rest} if rest else found


def _parameters(contract: Contract, card: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "approach": {"type": "supervised"},
        "task": _TASKS.get(contract.output.type, contract.output.type),
        "architectureFamily": contract.model.framework,
        "modelArchitecture": contract.model.format,
        "inputs": [{"format": _input(item)} for item in contract.inputs],
        "outputs": [{"format": f"{contract.output.name}: {contract.output.type}"}],
    }
    data = card.get("training_data")
    if data is not None:
        dataset = {
            "type": "dataset",
            "name": "training data",
            "description": _text(data),
            "classification": "restricted",
        }
        said["datasets"] = [dataset]
    return said


def _input(item: Input) -> str:
    unit = f" in {item.unit}" if item.unit else ""
    valid = f", {item.valid[0]:g} to {item.valid[1]:g}" if item.valid is not None else ""
    return f"{item.name}: {item.type}{unit}{valid}"


def _metrics(value: Any, slice_: str) -> Iterator[dict[str, str]]:  # noqa: ANN401 - any JSON value
    """Give what a card says of performance: each name with its value, or the sentence that it is."""
    if value is None:
        return
    rows = value.items() if isinstance(value, dict) else [("performance", value)]
    for name, one in rows:
        said = {"type": str(name), "value": _text(one)}
        yield {**said, "slice": slice_} if slice_ else said


def _considerations(card: Mapping[str, Any]) -> dict[str, Any]:
    limits = [*_list(card.get("limitations")), *(f"Out of scope: {text}" for text in _list(card.get("out_of_scope")))]
    said = {"useCases": _list(card.get("intended_use")), "technicalLimitations": limits}
    return {key: texts for key, texts in said.items() if texts}


def _list(value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    if value is None:
        return []
    return [_text(item) for item in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _property(key: str, value: Any) -> dict[str, str]:  # noqa: ANN401 - any JSON value
    return {"name": f"dev.bedside:card:{key}", "value": _text(value)}
