"""Crafted model files that would have NumPy take bytes of the file for pointers, or read memory of their choice."""

import pickle

import numpy as np
import pytest
import sklearn.utils
from sklearn.linear_model import LogisticRegression

from bedside_runtime.adapters import pickles
from bedside_runtime.errors import ForbiddenGlobal, ModelMismatch

KINDS = ["f8", ">i4", "O", "U5", "S3", "?", "M8[ns]", "V8", "c16", [("a", ">f8"), ("b", "?", (2,))], ("f8", (2, 3))]


def dtype(text: str) -> bytes:
    return b"cnumpy\ndtype\n(V%b\nI00\nI01\ntR" % text.encode()


def state(*, version: int = 3, part: bytes = b"N", fields: bytes = b"", size: int = 8, flags: int = 0) -> bytes:
    """The state of a dtype that is given, as NumPy writes it; ``fields`` are those of ``a``."""
    named = b"(Va\nt(dVa\n%bs" % fields if fields else b"NN"
    return b"(I%d\nV|\n%b%bI%d\nI1\nI%d\ntb" % (version, part, named, size, flags)


def number(at: int) -> bytes:
    return b"(cnumpy\ndtype\n(Vf8\ntRI%d\nt" % at


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("kind", [*KINDS, {"names": ["a"], "formats": ["f8"], "offsets": [8], "itemsize": 24}], ids=str)
def test_a_dtype_as_numpy_writes_it_comes_back(kind: object, protocol: int) -> None:
    kept = np.dtype(kind)  # type: ignore[call-overload] # whatever it takes
    data = pickle.dumps([kept, np.empty((2,), kept)], protocol=protocol)
    assert pickles.load(data, pickles.record_globals(data))[0] == kept


@pytest.mark.parametrize(
    "stream",
    [
        dtype("V8") + state(),
        dtype("V8") + state(fields=number(0)),
        dtype("O8") + state(size=-1, flags=63),
        dtype("V8") + state(part=b"(cnumpy\ndtype\n(Vf4\ntR(I2\ntt"),
    ],
)
def test_the_same_by_hand_is_followed(stream: bytes) -> None:
    assert pickles.record(stream + b".").globals


@pytest.mark.parametrize(
    "stream",
    {
        "bytes would be objects": dtype("O8") + state(size=-1),
        "bytes of a number would be objects": dtype("f8") + state(size=-1, flags=63),
        "bytes of a field would be objects": dtype("V8") + state(fields=b"(" + dtype("O8") + b"I0\nt"),
        "a field lies behind the end": dtype("V8") + state(fields=number(1)),
        "a field lies before the beginning": dtype("V8") + state(fields=number(-8)),
        "another size than it says": dtype("V8") + state(size=16),
        "parts that are larger than the whole": dtype("V8") + state(part=b"(cnumpy\ndtype\n(Vf8\ntR(I2\ntt"),
        "a version whose flags NumPy finds itself": dtype("V8") + state(version=1),
        "a text whose size is another": dtype("V"),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_dtype_that_would_misread_bytes_is_refused(stream: tuple[str, bytes]) -> None:
    with pytest.raises(ModelMismatch, match=r"\(UnpicklingError\)"):
        pickles.record(stream[1] + b".")


def test_a_dtype_is_not_changed_once_something_has_it() -> None:
    array = b"0cnumpy\nndarray\n(I1\ng1\nt\x81"
    assert pickles.record(dtype("V8") + state() + b"p1\n" + array + b".").globals
    with pytest.raises(ForbiddenGlobal, match="takes no more"):
        pickles.record(dtype("V8") + b"p1\n" + array + b"0g1\n" + state() + b".")
    with pytest.raises(ForbiddenGlobal, match="takes no more"):
        pickles.record(dtype("V8") + state() + state() + b".")
    with pytest.raises(ForbiddenGlobal, match="takes no more"):  # a state that a call makes
        pickles.record(dtype("V8") + b"cbuiltins\ntuple\n((lI3\natRb.")
    with pytest.raises(ForbiddenGlobal, match="takes no more"):
        pickles.record(b"cnumpy\ndtype\n(VV8\ntR" + state() + b".")


@pytest.mark.parametrize("name", [b"numpy._core.multiarray\ndtype", b"numpy.dtypes\nVoidDType"])
def test_a_dtype_has_one_name_by_which_it_is_made(name: bytes) -> None:
    with pytest.raises(ForbiddenGlobal, match="not call it"):
        pickles.record(b"c%b\n(I8\ntR." % name)


def test_a_scalar_is_no_second_handle_of_an_object() -> None:
    with pytest.raises(ForbiddenGlobal, match="not call it"):
        pickles.record(b"cnumpy\nobject_\n((dtR.")
    with pytest.raises(ForbiddenGlobal, match="what it must not be given"):
        pickles.record(b"cnumpy._core.multiarray\nscalar\n(" + dtype("O8") + b"(dtR.")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_no_object_has_an_attribute_that_numpy_obeys(protocol: int) -> None:
    model = LogisticRegression()
    vars(model)["__array_interface__"] = {"data": (16, False), "shape": (), "typestr": "<f8", "version": 3}
    for kept in (model, sklearn.utils.Bunch(__array_interface__=1)):
        with pytest.raises(ForbiddenGlobal, match="the attribute __array_interface__"):
            pickles.record(pickle.dumps(kept, protocol=protocol))


def test_an_estimators_state_is_its_attributes() -> None:
    made = b"cxgboost.sklearn\nXGBClassifier\n)\x81"
    assert pickles.record(made + b"(dVa\nI1\nsb.").globals
    with pytest.raises(ForbiddenGlobal, match="a state of another kind"):
        pickles.record(made + b"((Va\nI1\nttb.")


def test_a_partial_has_no_attributes() -> None:
    made = b"cfunctools\npartial\n(cnumpy\nmean\ntR(cnumpy\nmean\n(t(d"
    assert pickles.record(made + b"Ntb.").globals
    with pytest.raises(ForbiddenGlobal, match="gives it attributes"):
        pickles.record(made + b"(dtb.")


@pytest.mark.parametrize(
    "stream",
    [
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000\ntVb\ntR.",
        b"cnumpy.ma.core\n_mareconstruct\n(cnumpy.ma\nMaskedArray\ncnumpy\nndarray\n(I99999\nI99999\ntVb\ntR.",
        b"cnumpy\nndarray\n((I1000000000\ntt\x81.",
        b"cnumpy\nndarray\n(I1000000000\nt\x81.",
        b"cnumpy\nbytes_\n(I1000000000\ntR.",
        b"cnumpy\nvoid\n(I1000000000\ntR.",
    ],
)
def test_no_array_is_larger_than_what_the_file_holds_of_it(stream: bytes) -> None:
    with pytest.raises(ForbiddenGlobal, match="more made of it than it holds"):
        pickles.record(stream)
    with pytest.raises(ForbiddenGlobal, match="more copied than it holds"):  # one array's bytes in many arrays
        pickles.record(_many_arrays_of_one_text())


def _many_arrays_of_one_text() -> bytes:
    held = np.zeros(400_000, dtype="u1")
    state = held.__reduce__()[2]
    return pickle.dumps([_Rebuilt(state) for _ in range(8)])


class _Rebuilt:
    def __init__(self, state: object) -> None:
        self.state = state

    def __reduce__(self) -> tuple[object, ...]:
        function, arguments, _ = np.zeros(1, dtype="u1").__reduce__()
        return function, arguments, self.state
