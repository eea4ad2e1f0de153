"""Hostile pickles, in an environment without any model library: nothing of them may run."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import sys
import types
import zlib
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bedside_runtime.adapters import compression, pickles, stand_ins
from bedside_runtime.contract import Global
from bedside_runtime.errors import ForbiddenGlobal, ModelMismatch


class Attack:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def refused(data: bytes) -> None:
    with pytest.raises(ForbiddenGlobal):
        pickles.record(data)
    with pytest.raises(ForbiddenGlobal):
        pickles.load(data, ())


@pytest.mark.parametrize("module", ["os", "posix", "subprocess", "builtins"])
def test_a_part_of_python_is_refused_as_such_whatever_is_installed(module: str) -> None:
    with pytest.raises(ForbiddenGlobal, match="it belongs to Python itself"):
        pickles.record(f"c{module}\nsystem\n.".encode())


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_of_the_shell_is_refused_before_it_runs(canary: Path, protocol: int) -> None:
    refused(pickle.dumps({"model": [Attack(canary)]}, protocol=protocol))


def test_the_attack_of_these_tests_would_work(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Attack(canary)))
    assert canary.exists()


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compression_hides_no_attack(canary: Path, compress: Callable[[bytes], bytes]) -> None:
    refused(compress(pickle.dumps(Attack(canary))))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("__builtin__", "eval"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("importlib", "import_module"),
        ("runpy", "run_path"),
        ("pip", "main"),
        ("collections", "namedtuple"),
        ("operator", "methodcaller"),
        ("functools", "partial"),
        ("bedside_runtime.loading", "load"),
    ],
)
def test_a_global_that_no_model_needs_is_refused_even_uncalled(module: str, name: str) -> None:
    refused(f"c{module}\n{name}\n.".encode())


@pytest.mark.parametrize("name", ["dict.fromkeys", "str.format", "object.__subclasses__"])
def test_a_dotted_name_is_refused(name: str) -> None:
    inside = b"\x80\x04\x8c\x08builtins\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
    refused(inside)


@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"])
def test_an_extension_code_is_refused(opcode: bytes) -> None:
    refused(b"\x80\x02" + opcode + b".")


@pytest.mark.parametrize("stream", [b"P1\n.", b"\x80\x02K\x01Q."])
def test_a_persistent_id_is_refused(stream: bytes) -> None:
    refused(stream)


def test_what_loading_resolves_is_what_was_recorded_and_no_more() -> None:
    data = pickle.dumps({1, 2}, protocol=2)
    found = pickles.record(data).globals
    assert found == (Global(module="builtins", name="set"),)
    assert pickles.load(data, found) == {1, 2}
    with pytest.raises(ForbiddenGlobal, match="the contract does not record it"):
        pickles.load(data, ())


def test_the_type_of_a_part_of_python_may_not_be_kept_where_it_calls_what_it_is_given() -> None:
    with pytest.raises(ForbiddenGlobal, match="the model would keep it"):
        pickles.record(b"cfunctools\npartial\n.")


@pytest.mark.parametrize("encoding", ["zlib", "this", "utf-8"])
def test_only_the_encoding_of_old_protocols_is_undone(encoding: str) -> None:
    with pytest.raises(ForbiddenGlobal, match="what it must not be given"):
        pickles.record(f"c_codecs\nencode\n(Vtext\nV{encoding}\ntR.".encode())


@pytest.mark.parametrize("state", ["(dVname\nI1\ns", "N(dVname\nI1\nst"])
def test_a_class_is_not_changed_by_the_file(state: str) -> None:
    data = ("ccollections\nOrderedDict\n" + ("(" if state[0] == "N" else "") + state + "b.").encode()
    with pytest.raises(ForbiddenGlobal, match="changes a class"):
        pickles.record(data)
    with pytest.raises(ForbiddenGlobal, match="changes a class"):
        pickles.load(data, [Global(module="collections", name="OrderedDict")])


@pytest.mark.parametrize("data", [b"cdecimal\nDecimal\n(Vx\ntR.", b"cfractions\nFraction\n(I1\nI0\ntR."])
def test_a_number_that_is_none_is_a_damaged_file(data: bytes) -> None:
    with pytest.raises(ModelMismatch, match="cannot be read as a pickle"):
        pickles.load(data, pickles.record_globals(data))


def test_an_object_takes_its_state_once() -> None:
    made = b"ccopyreg\n_reconstructor\n(ccollections\nOrderedDict\ncbuiltins\nobject\nNtR"
    assert pickles.record(made + b"(dVa\nI1\nsb.").globals
    with pytest.raises(ForbiddenGlobal, match="takes no more"):
        pickles.record(made + b"(dVa\ncbuiltins\nlist\nsbVpath\nb.")


def test_an_object_is_given_no_attribute_that_python_obeys() -> None:
    made = b"ccopyreg\n_reconstructor\n(ccollections\nOrderedDict\ncbuiltins\nobject\nNtR"
    with pytest.raises(ForbiddenGlobal, match="the attribute __setstate__"):
        pickles.record(made + b"(dV__setstate__\ncbuiltins\nlist\nsb.")
    with pytest.raises(ForbiddenGlobal, match="makes up the name"):
        pickles.record(made + b"(dcbuiltins\nstr\n(V__setstate__\ntRI1\nsb.")
    with pytest.raises(ForbiddenGlobal, match="a state of another kind"):
        pickles.record(made + b"cbuiltins\ndict\n((l(Va\nI1\ntatRb.")


@pytest.mark.parametrize("size", [3 * 1024 * 1024 + 1, 64 * 1024])
def test_zlib_is_read_to_its_end_whatever_it_shrinks_to(size: int) -> None:
    for data in (bytes(size), os.urandom(size)):
        assert compression.decompressed(zlib.compress(data)) == data


def test_what_rebuilds_an_object_starts_from_a_type_of_pythons_own() -> None:
    with pytest.raises(ForbiddenGlobal, match="what it must not be given"):
        pickles.record(b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\nccollections\nOrderedDict\nNtR.")


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_a_file_that_grows_beyond_all_models_is_not_read_to_its_end(
    compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "FREE_BYTES", 1024 * 1024)
    bomb = compress(bytes(8 * 1024 * 1024))
    with pytest.raises(ModelMismatch, match="grows beyond 1048576 bytes"):
        pickles.record(bomb)
    with pytest.raises(ModelMismatch, match="grows beyond"):
        pickles.load(bomb, ())


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_a_large_file_may_grow_with_its_size(
    compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "FREE_BYTES", 1)
    text = pickle.dumps([str(number) for number in range(300_000)])
    assert compression.decompressed(compress(text)) == text


def demanding(size: int, form: int) -> bytes:
    """A short stream whose header asks for a window of ``size`` bytes."""
    chain = [{"id": lzma.FILTER_LZMA2 if form == lzma.FORMAT_XZ else lzma.FILTER_LZMA1, "dict_size": 4096}]
    data = bytearray(lzma.compress(pickle.dumps([1]), form, filters=chain))
    if form == lzma.FORMAT_ALONE:
        data[1:5] = size.to_bytes(4, "little")
    else:
        data[16] = 2 * (size.bit_length() - 13)  # the block's header: its one filter's dictionary, then its checksum
        data[20:24] = zlib.crc32(data[12:20]).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("form", [lzma.FORMAT_XZ, lzma.FORMAT_ALONE])
def test_a_window_that_no_preset_asks_for_is_refused(form: int) -> None:
    assert pickles.load(demanding(64 * 1024 * 1024, form), ()) == [1]
    with pytest.raises(ModelMismatch, match="takes more than 134217728 bytes of memory"):
        pickles.load(demanding(1024 * 1024 * 1024, form), ())


@pytest.mark.parametrize("form", [lzma.FORMAT_XZ, lzma.FORMAT_ALONE])
@pytest.mark.parametrize("preset", range(10))
def test_lzma_is_read_to_its_end_at_every_level(form: int, preset: int) -> None:
    for data in (b"x" + bytes(3 * 1024 * 1024), b"x" + os.urandom(200_000)):
        assert compression.decompressed(lzma.compress(data, form, preset=preset)) == data


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_cut_compression_is_named_as_such(compress: Callable[[bytes], bytes]) -> None:
    whole = compress(os.urandom(4096))
    with pytest.raises(ModelMismatch, match="damaged"):
        compression.decompressed(whole[: len(whole) // 2])


def test_an_authors_module_lends_the_shell_no_other_name(canary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("preprocessing")
    module.shell = os.system
    monkeypatch.setitem(sys.modules, "preprocessing", module)
    data = f"cpreprocessing\nshell\n(Vtouch {canary}\ntR.".encode()
    with pytest.raises(ForbiddenGlobal, match="another name for a part of Python itself"):
        pickles.load(data, pickles.record_globals(data, ["preprocessing"]))


@pytest.mark.parametrize("data", [b"\x80\x04", b"\x80\x04]", b"no pickle at all", b"\x80\x05\x95\xff\xff\xff\xff"])
def test_a_damaged_stream_is_named_as_such(data: bytes) -> None:
    for follow in (pickles.record, lambda stream: pickles.load(stream, ())):
        with pytest.raises(ModelMismatch, match="cannot be read"):
            follow(data)


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x78\x9c", b"\x5d\x00\x00"])
def test_damaged_compression_is_named_as_such(magic: bytes) -> None:
    with pytest.raises(ModelMismatch, match="damaged"):
        pickles.record(magic + b"\x00" * 20)


def test_every_cut_of_a_stream_is_refused() -> None:
    data = pickle.dumps({"weights": [1.5, 2.5], "names": {"a", "b"}})
    for size in range(len(data)):
        with pytest.raises(ModelMismatch):
            pickles.record(data[:size])


def test_a_stream_keeps_its_place_for_what_follows() -> None:
    reader = io.BytesIO(pickle.dumps([1], protocol=4) + b"rest")
    assert pickles._Recorder(reader, {}, stand_ins.Notes(frozenset())).load() == [1]
    assert reader.read() == b"rest"


def plain(name: str, arguments: str) -> bytes:
    module = {"Decimal": "decimal", "Fraction": "fractions", "deque": "collections"}.get(name, "builtins")
    return f"c{module}\n{name}\n({arguments}tR".encode()


LONG = plain("range", "I20000000\n").decode()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bytes", "I1000000000\n"),
        ("bytearray", "I1000000000\n"),
        ("int", plain("Decimal", "V1e99999999\n").decode()),
        ("Fraction", "V1e99999999\n"),
        ("Fraction", plain("Decimal", "V1e99999999\n").decode()),
        ("str", "(lI1\na"),
        *((kind, LONG) for kind in ("tuple", "list", "set", "frozenset", "deque", "bytes", "bytearray")),
    ],
)
def test_a_plain_type_makes_no_more_of_its_arguments_than_they_are(name: str, arguments: str) -> None:
    with pytest.raises(ForbiddenGlobal, match="more made of it"):
        pickles.record(plain(name, arguments) + b".")
    made = f"c{plain(name, '').decode()[1:-3]}({arguments}t\x81".encode("latin1")  # NEWOBJ: its ``__new__`` alone
    with pytest.raises(ForbiddenGlobal, match="more made of it"):
        pickles.record(made + b".")
    base = f"ccopyreg\n_reconstructor\n(cbuiltins\n{name}\ncbuiltins\n{name}\n{arguments}tR".encode()
    if plain(name, "").startswith(b"cbuiltins"):
        with pytest.raises(ForbiddenGlobal, match="more made of it"):
            pickles.record(base + b".")


def test_what_the_file_holds_is_not_copied_again_and_again() -> None:
    held = b"(lp0\n" + b"I1\na" * 60_000
    assert pickles.record(held + plain("tuple", "g0\n") * 2 + b".").globals
    with pytest.raises(ForbiddenGlobal, match="more copied than it holds"):
        pickles.record(held + plain("tuple", "g0\n") * 50 + b".")


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back(protocol: int) -> None:
    kept = [range(10**9), {1, 2}, frozenset({3}), bytearray(b"ab"), b"", b"cd", Fraction(1, 3), Decimal("1e5"), 1 + 2j]
    kept += [slice(1, 2), OrderedDict(a=1), defaultdict(list, b=[2]), deque([1], 3), datetime(2026, 1, 1, tzinfo=UTC)]
    data = pickle.dumps(kept, protocol=protocol)
    assert pickles.load(data, pickles.record_globals(data)) == kept


def test_room_is_made_for_bytes_that_are_there() -> None:
    for size in (2**62, 10**6, 4):
        with pytest.raises(ModelMismatch, match="EOFError"):
            pickles.load(b"\x80\x05\x96" + size.to_bytes(8, "little") + b"ab.", ())
    assert pickles.load(pickle.dumps(bytearray(b"abc"), protocol=5), ()) == bytearray(b"abc")
