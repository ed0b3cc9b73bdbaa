"""The pickle machine reads what data needs as Python's unpickler does, and does nothing for anybody else."""

import copyreg
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rlbench_demos as demos

from vla3d.data.formats import inert_pickle
from vla3d.data.formats.inert_pickle import load_inert_pickle, read_inert_pickle
from vla3d.data.formats.inert_values import Global, PickleRefusedError, Record

RECORDS = (Global("rlbench.demo", "Demo"), Global("rlbench.backend.observation", "Observation"))
DEMO = b"crlbench.demo\nDemo\n"

VALUES: list[Any] = [
    None,
    True,
    [0, 1, 255, 256, 65_535, 65_536, -1, -(2**31), 2**40, -(2**100)],
    [0.0, -1.5, float("inf"), 1e-300],
    ["", "réd", "x" * 300],
    [b"", b"ab", b"x" * 300],
    {"a": {"b": [1, (2,), (), (1, 2), (1, 2, 3), (1, 2, 3, 4)]}, "c": {}},
    ["again", ["again"] * 3],
    list(range(3_000)),
    [np.float64(2.5), np.int32(-3), np.bool_(True)],
]
ARRAYS = [
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.asfortranarray(np.arange(12).reshape(3, 4)),
    np.array(1.0),
    np.zeros((0, 7)),
    np.array([True, False]),
    np.arange(5, dtype=">i4"),
    np.arange(5, dtype=np.uint8),
]


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    content = pickle.dumps(value, protocol=protocol)
    if protocol == 2 and b"_codecs" in content:  # bytes do not exist in protocol 2, a call stands for them
        with pytest.raises(PickleRefusedError, match=r"refers to (_codecs.encode|__builtin__.bytes)"):
            load_inert_pickle(content)
    else:
        found = load_inert_pickle(content)
        assert found == value and repr(found) == repr(value)


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("array", ARRAYS, ids=range(len(ARRAYS)))
def test_arrays_come_back_also_when_shared(array: np.ndarray, protocol: int) -> None:
    first, again = load_inert_pickle(pickle.dumps([array, array], protocol=protocol))
    assert again is first and first.dtype == array.dtype and first.shape == array.shape
    np.testing.assert_array_equal(first, array)
    assert first.flags.f_contiguous == array.flags.f_contiguous


def test_demonstrations_come_back_as_records() -> None:
    made = demos.demo(3)
    found = load_inert_pickle(demos.dumps(made), RECORDS)
    assert isinstance(found, Record) and str(found.cls) == "rlbench.demo.Demo"
    assert set(found.fields) == {"_observations", "random_seed", "variation_number"}
    for one, original in zip(found.fields["_observations"], made.__dict__["_observations"], strict=True):
        for key, value in original.__dict__.items():
            if key != "misc":
                np.testing.assert_array_equal(one.fields[key], value)
        for key, value in original.misc.items():
            np.testing.assert_array_equal(one.fields["misc"][key], value)


class Canary:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Slotted:
    __slots__ = ("x",)


def string(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def attacks(touch: str) -> dict[str, tuple[bytes, str]]:
    """Pickles that would run ``touch`` or worse, and the name by which each is to be refused."""
    import os
    import subprocess

    command = string(touch)
    call = b"\x85R."  # the command in a tuple, the call, the end
    copied = b"ccopyreg\n_reconstructor\n"
    return {
        "os.system": (pickle.dumps(Canary(os.system, touch), protocol=3), r"posix\.system"),
        "os.system, protocol 4": (pickle.dumps(Canary(os.system, touch), protocol=4), r"posix\.system"),
        "os.system, protocol 0": (pickle.dumps(Canary(os.system, touch), protocol=0), r"posix\.system|operation "),
        "eval": (pickle.dumps(Canary(eval, "1+1"), protocol=3), r"builtins\.eval"),
        "subprocess": (pickle.dumps(Canary(subprocess.call, ["touch"]), protocol=3), r"subprocess\.call"),
        "getattr chain": (b"\x80\x03cbuiltins\ngetattr\n" + DEMO + string("__class__") + b"\x86R.", r"builtins\.getattr"),
        "dotted name": (b"\x80\x04" + string("rlbench.demo") + string("Demo.__class__") + b"\x93.", r"Demo\.__class__"),
        "dotted numpy": (b"\x80\x04" + string("numpy") + string("ndarray.__init__.__globals__") + b"\x93.", "__globals__"),
        "numpy function": (b"\x80\x03cnumpy\nload\n" + command + call, r"numpy\.load"),
        "numpy runstring": (b"\x80\x03cnumpy.testing._private.utils\nrunstring\n.", "runstring"),
        "name of no text": (b"\x80\x04K\x01K\x02\x93.", "a class by something that is no text"),
        "endless name": (b"\x80\x03c" + b"a" * 10_000, "name does not end"),
        "memo hides the name": (
            b"\x80\x04" + string("posix") + b"q\x00" + string("system") + b"q\x01" + string("rlbench.demo") + b"h\x00h\x01\x93",
            r"posix\.system",
        ),
        "INST": (b"\x80\x03(" + command + b"iposix\nsystem\n.", r"INST of posix\.system"),
        "OBJ of os.system": (b"\x80\x03(cposix\nsystem\n" + command + b"o.", r"posix\.system"),
        "OBJ of a demo": (b"\x80\x03(" + DEMO + b"o.", "the operation OBJ"),
        "a demo is called": (b"\x80\x03" + DEMO + b")R.", "it calls rlbench.demo.Demo"),
        "text is called": (b"\x80\x03" + command + b")R.", "it calls a str"),
        "NEWOBJ with arguments": (b"\x80\x03" + DEMO + b"K\x01\x85\x81.", "it makes an object of rlbench.demo.Demo"),
        "NEWOBJ of an array": (b"\x80\x03cnumpy\nndarray\n)\x81.", "it makes an object of numpy.ndarray"),
        "NEWOBJ_EX": (b"\x80\x04" + DEMO + b")}\x92.", "the operation NEWOBJ_EX"),
        "BUILD on a class": (b"\x80\x03" + DEMO + b"}" + string("__setstate__") + DEMO + b"sb.", "gives a state to a rlbench"),
        "BUILD with slots": (b"\x80\x03" + DEMO + b")\x81N}\x86b.", "no mapping of names"),
        "slots": (pickle.dumps(Slotted(), protocol=2), "test_inert_pickle.Slotted"),
        "BUILD on a list": (b"\x80\x03]}b.", "gives a state to a list"),
        "copyreg": (b"\x80\x03" + copied + DEMO + b"cbuiltins\nobject\nN\x87R.", r"copyreg\._reconstructor"),
        "OrderedDict": (pickle.dumps(OrderedDict(a=1), protocol=3), r"collections\.OrderedDict"),
        "set": (pickle.dumps({1}, protocol=4), "the operation EMPTY_SET"),
        "persistent id": (b"\x80\x03Pname\n.", "a persistent id"),
        "binary persistent id": (b"\x80\x03K\x01Q.", "a persistent id"),
        "extension": (b"\x80\x02\x82\x01.", "an extension of copyreg"),
        "object array": (pickle.dumps(np.array([Canary(os.system, touch)], dtype=object), protocol=3), "dtype 'O8'|posix"),
        "text array": (pickle.dumps(np.array(["a"]), protocol=3), "dtype 'U1'"),
        "record array": (pickle.dumps(np.zeros(2, dtype=[("x", "f4")]), protocol=3), "dtype 'V4'"),
        "out-of-band buffer": (b"\x80\x05\x97.", "protocol above 4"),
        "unknown operation": (b"\x80\x03\xff.", "an unknown operation"),
    }


@pytest.mark.parametrize("name", attacks(""))
def test_attacks_are_refused_by_name_and_do_nothing(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "executed"
    content, sentence = attacks(f"touch {mark}")[name]
    with pytest.raises(PickleRefusedError, match=sentence):
        load_inert_pickle(content, RECORDS)
    assert not mark.exists()


def test_the_canary_would_have_sung(tmp_path: Path) -> None:
    """The attacks above are real: Python's own unpickler carries the first one out."""
    mark = tmp_path / "executed"
    pickle.loads(attacks(f"touch {mark}")["os.system"][0])
    assert mark.exists()


def test_an_extension_that_is_registered_is_refused_too(tmp_path: Path) -> None:
    copyreg.add_extension("posix", "system", 250)
    try:
        with pytest.raises(PickleRefusedError, match="EXT1"):
            load_inert_pickle(b"\x80\x02\x82\xfa" + string(f"touch {tmp_path / 'x'}") + b"\x85R.")
    finally:
        copyreg.remove_extension("posix", "system", 250)


RECONSTRUCT = b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
DTYPE = (
    b"cnumpy\ndtype\n" + string("f8") + b"\x89\x88\x87R(K\x03" + string("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
ARRAY = RECONSTRUCT[2:] + b"K\x00\x85C\x01b\x87R(K\x01K\x02\x85" + DTYPE + b"\x89C\x10" + bytes(16) + b"tb"
HUGE = b"\x8a\x06" + (10**13).to_bytes(6, "little")
FLOODS = {
    "an array of terabytes": (RECONSTRUCT + HUGE + b"\x85C\x01b\x87RNb.", "gives a state"),
    "a shape of terabytes": (
        RECONSTRUCT + b"K\x00\x85C\x01b\x87R(K\x01" + HUGE + b"\x85" + DTYPE + b"\x89C\x00tb.",
        "shape, dtype",
    ),
    "a shape beyond its bytes": (
        RECONSTRUCT + b"K\x00\x85C\x01b\x87R(K\x01J\x00\x00\x00\x01\x85" + DTYPE + b"\x89C\x08abcdefghtb.",
        r"an array of float64 \(16777216,\) with 8 bytes",
    ),
    "a product beyond any": (
        RECONSTRUCT + b"K\x00\x85C\x01b\x87R(K\x01(" + b"J\xff\xff\xff\x7f" * 7 + b"K\x00t" + DTYPE + b"\x89C\x00tb.",
        "NumPy refuses",
    ),
    "a negative shape": (
        RECONSTRUCT + b"K\x00\x85C\x01b\x87R(K\x01J\xff\xff\xff\xff\x85" + DTYPE + b"\x89C\x08abcdefghtb.",
        "shape, dtype or content",
    ),
    "a truth value in a shape": (
        RECONSTRUCT + b"K\x00\x85C\x01b\x87R(K\x01\x88\x85" + DTYPE + b"\x89C\x08abcdefghtb.",
        "shape, dtype or content",
    ),
    "bytes beyond the file": (b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.", "cut short"),
    "a text beyond the file": (b"\x80\x03X\xff\xff\xff\xffabc.", "cut short"),
    "a frame beyond the file": (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.", "cut short"),
    "a number beyond the file": (b"\x80\x03\x8a\xffabc.", "cut short"),
    "an empty stack": (b"\x80\x03}s.", "no whole pickle"),
    "no mark": (b"\x80\x03t.", "no whole pickle"),
    "an unknown memo entry": (b"\x80\x03h\x07.", "no whole pickle"),
    "too few for a tuple": (b"\x80\x03N\x87.", "no whole pickle"),
    "an open mark": (b"\x80\x03(N.", "in the middle of a value"),
    "two values": (b"\x80\x03NN.", "in the middle of a value"),
    "no end": (b"\x80\x03N", "cut short"),
    "nothing": (b"", "cut short"),
    "a half number": (b"\x80\x03J\x00", "cut short"),
    "half an operation": (b"\x80\x03K", "no whole pickle"),
    "an array for a key": (b"\x80\x03}]Ns.", "with a list for a key"),
    "a list that is none": (b"\x80\x03NNa.", "appends to a NoneType"),
    "a text that is none": (b"\x80\x03X\x01\x00\x00\x00\xff.", "not UTF-8"),
    "a scalar without a dtype": (b"\x80\x03cnumpy.core.multiarray\nscalar\nNC\x01a\x86R.", "shape, dtype or content"),
    "an array for ndarray": (
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\n" + ARRAY + b"K\x00\x85C\x01b\x87R.",
        "NumPy does not write",
    ),
    "arrays in the state of a dtype": (
        b"\x80\x03cnumpy\ndtype\n" + string("f8") + b"\x89\x88\x87R(K\x03" + ARRAY * 4 + b"NNNtb.",
        "gives a state",
    ),
    "a lone surrogate": (b"\x80\x03X\x03\x00\x00\x00\xed\xa0\x80.", "not UTF-8"),
    "an array of a demo": (RECONSTRUCT[:-15] + DEMO + b"K\x00\x85C\x01b\x87R.", "NumPy does not write"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_what_does_not_fit_its_file_is_refused_at_once(name: str) -> None:
    content, sentence = FLOODS[name]
    with pytest.raises(PickleRefusedError, match=sentence):
        load_inert_pickle(content, RECORDS)


def test_a_large_memo_index_costs_nothing() -> None:
    """CPython's unpickler allocates as many entries as the index says: these eight bytes ask it for 64 GB."""
    assert load_inert_pickle(b"\x80\x03Kar\xff\xff\xff\xff.") == ord("a")


def test_deep_nesting_neither_recurses_nor_ends_the_process() -> None:
    depth = 10_000  # ten times what Python may recurse
    value = load_inert_pickle(b"\x80\x03" + b"]" * depth + b"a" * (depth - 1) + b".")
    for _ in range(depth - 1):
        (value,) = value
    assert value == []
    nested = load_inert_pickle(b"\x80\x03)" + b"\x85" * depth + b".")
    del nested
    own = load_inert_pickle(b"\x80\x03]q\x00h\x00a.")
    assert own[0] is own


def test_the_number_of_operations_and_of_bytes_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inert_pickle, "MOST_OPERATIONS", 1_000)
    with pytest.raises(PickleRefusedError, match="more than 1000 operations"):
        load_inert_pickle(b"\x80\x03(" + b"]" * 2_000 + b"l.")
    monkeypatch.setattr(inert_pickle, "MOST_BYTES", 10)
    (tmp_path / "large.pkl").write_bytes(b"x" * 11)
    with pytest.raises(PickleRefusedError, match="it has 11 bytes, expected at most 10"):
        read_inert_pickle(tmp_path / "large.pkl")


@pytest.mark.parametrize("seed", range(2))
def test_any_damage_is_refused_or_harmless(seed: int) -> None:
    """Random bytes put into a real recording: a value or one clause comes out, never another error."""
    rng = np.random.default_rng(seed)
    whole = demos.dumps(demos.demo(1))
    for _ in range(50):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), int(rng.integers(1, 6))):
            content[at] = rng.integers(256)
        try:
            load_inert_pickle(bytes(content[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.3 else content), RECORDS)
        except PickleRefusedError as error:
            assert str(error)
