"""A corpus of JSON documents: what RFC 8259 and I-JSON refuse is refused, what they allow is read."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import ENGINES, Served, loaded, serving

DOCUMENTS: dict[str, str] = json.loads(Path(__file__).with_name("json_corpus.json").read_text())


@pytest.fixture(scope="module", params=ENGINES)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(loaded(engine=request.param)) as running:
        yield running


def test_the_corpus_is_large_enough() -> None:
    kinds = [name[0] for name in DOCUMENTS]
    assert kinds.count("n") >= 80
    assert kinds.count("y") >= 40


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_read_or_refused(served: Served, name: str) -> None:
    status, problem = served.post(DOCUMENTS[name].encode("latin-1"))
    expected = (400, "bad-json") if name.startswith("n") else (422, "conflicting-body")
    assert (status, problem["code"]) == expected
