"""PyTorch weight files read without PyTorch: both formats, written here byte by byte, and malicious files."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.models.torch_weights import read_torch_weights

HEADER = [
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",  # the magic number
    b"\x80\x02M\xe9\x03.",  # 1001
    b"\x80\x02}q\x00(X\x10\x00\x00\x00protocol_versionq\x01M\xe9\x03X\x0d\x00\x00\x00little_endianq\x02\x88u.",
]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    key: str, count: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, legacy: bool = True
) -> bytes:
    """Pickle opcodes of _rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())."""
    kind = b"ctorch\nFloatStorage\n"
    storage = (
        b"(" + text("storage") + kind + text(key) + text("cpu") + number(count) + (b"Nt" if legacy else b"t") + b"Q"
    )
    arguments = (
        storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + b"ccollections\nOrderedDict\n)R"
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state_dict(items: dict[str, bytes]) -> bytes:
    """An OrderedDict with the attribute _metadata, as Module.state_dict() returns."""
    filled = b"".join(text(name) + value for name, value in items.items())
    return b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(" + filled + b"u}" + text("_metadata") + b"}sb."


def legacy_file(path: Path, tree: bytes, storages: dict[str, np.ndarray]) -> Path:
    keys = b"\x80\x02](" + b"".join(map(text, storages)) + b"e."
    raw = b"".join(struct.pack("<q", values.size) + values.tobytes() for values in storages.values())
    path.write_bytes(b"".join(HEADER) + tree + keys + raw)
    return path


def zip_file(path: Path, tree: bytes, storages: dict[str, np.ndarray], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model/data.pkl", tree)
        archive.writestr("model/byteorder", "little")
        for key, values in storages.items():
            archive.writestr(f"model/data/{key}", values.tobytes())
    return path


SIX = np.arange(6, dtype=np.float32)


def test_legacy_format_with_strides_offset_and_shared_storage(tmp_path: Path) -> None:
    tree = state_dict(
        {
            "kernel": tensor("a", 6, (2, 3), (3, 1)),
            "transposed": tensor("a", 6, (3, 2), (1, 3)),
            "tail": tensor("a", 6, (2,), (1,), offset=4),
            "scalar": tensor("b", 1, (), ()),
        }
    )
    arrays = read_torch_weights(legacy_file(tmp_path / "w.pth", tree, {"a": SIX, "b": np.float32([7])}))
    assert list(arrays) == ["kernel", "transposed", "tail", "scalar"]
    assert arrays["kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["transposed"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays["tail"].tolist() == [4, 5] and arrays["scalar"] == 7
    assert arrays["kernel"].dtype == np.float32 and not arrays["kernel"].flags.writeable


def test_zip_format(tmp_path: Path) -> None:
    tree = state_dict({"kernel": tensor("0", 6, (2, 3), (3, 1), legacy=False)})
    arrays = read_torch_weights(zip_file(tmp_path / "w.pth", tree, {"0": SIX}))
    assert arrays["kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_malicious_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path / 'executed'}",)

    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    files = [legacy_file(tmp_path / f"{p}.pth", pickle.dumps({"w": Malicious()}, p), {}) for p in protocols]
    files.append(zip_file(tmp_path / "zip.pth", pickle.dumps({"w": Malicious()}, 2), {}))
    for file in files:
        with pytest.raises(ValueError, match="refused"):
            read_torch_weights(file)
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system\. Nothing in it was run"):
        read_torch_weights(files[2])
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"cbuiltins\neval\n(" + text("1") + b"tR",
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n",
        b"ccollections\nOrderedDict\n(" + text("a") + b"tR",  # an allowed name with other arguments
        b"ctorch\nFloatStorage\n)R",
        b"ctorch\nFloatStorage\n)\x81",  # NEWOBJ
        b"\x82\x01",  # EXT1
        tensor("a", 6, (6,), (1,)) + b"}" + text("offset") + number(-1) + b"sb",  # BUILD: state after the checks
        b"ctorch._utils\n_rebuild_tensor_v2\n}" + text("__call__") + b"Nsb",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}" + text("__call__") + b"Nstb",  # slot state
        b"ccollections\nOrderedDict\n}" + text("__setitem__") + b"Nsb",
    ],
    ids=[
        *("eval", "dotted name", "OrderedDict(a)", "storage called", "NEWOBJ", "EXT1"),
        *("tensor changed", "function changed", "slot of a function", "class changed"),
    ],
)
def test_other_pickle_operations_are_refused(tmp_path: Path, payload: bytes) -> None:
    with pytest.raises(ValueError, match="refused"):
        read_torch_weights(legacy_file(tmp_path / "w.pth", state_dict({"w": payload}), {}))


def test_file_truncated_at_any_byte_is_refused(tmp_path: Path) -> None:
    whole = legacy_file(tmp_path / "w.pth", state_dict({"w": tensor("a", 6, (6,), (1,))}), {"a": SIX}).read_bytes()
    zipped = zip_file(
        tmp_path / "z.pth", state_dict({"w": tensor("0", 6, (6,), (1,), legacy=False)}), {"0": SIX}
    ).read_bytes()
    for data in (whole, zipped):
        for length in range(len(data)):
            (tmp_path / "cut.pth").write_bytes(data[:length])
            with pytest.raises(ValueError, match=r"cannot read the weights in .*cut\.pth"):
                read_torch_weights(tmp_path / "cut.pth")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (tensor("a", 6, (7,), (1,)), "beyond its storage"),
        (tensor("a", 6, (2, 3), (6, 1)), "beyond its storage"),
        (tensor("a", 6, (6,), (1,), offset=1), "beyond its storage"),
        (tensor("a", 6, (2**30, 2**30), (0, 0)), "beyond its storage"),  # one number repeated 2**60 times
        (tensor("a", 6, (-1,), (1,)), "wrong storage, shape or strides"),
        (tensor("a", 6, (2,), (-1,)), "wrong storage, shape or strides"),
        (tensor("a", 2**30, (6,), (1,)), "announced"),
        (text("no tensor"), "not those that its tensors use"),
        (b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("a") + text("cpu") + text("6") + b"NtQ", "storage"),
    ],
)
def test_inconsistent_tensors_are_refused(tmp_path: Path, tree: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_torch_weights(legacy_file(tmp_path / "w.pth", state_dict({"w": tree}), {"a": SIX}))


def test_huge_memo_index_is_refused(tmp_path: Path) -> None:
    tree = b"\x80\x02}r" + struct.pack("<I", 2**32 - 1) + b"."  # LONG_BINPUT: the unpickler would reserve 64 GB
    with pytest.raises(ValueError, match="position 4294967295 in its memo"):
        read_torch_weights(legacy_file(tmp_path / "w.pth", tree, {}))


@pytest.mark.parametrize("opcode", [b"\x8e", b"\x8d", b"\x96"], ids=["BINBYTES8", "BINUNICODE8", "BYTEARRAY8"])
def test_a_string_longer_than_the_file_is_refused(tmp_path: Path, opcode: bytes) -> None:
    tree = b"\x80\x05" + opcode + struct.pack("<Q", 2**40) + b"."
    with pytest.raises(ValueError, match="refused"):
        read_torch_weights(legacy_file(tmp_path / "w.pth", tree, {}))


def test_other_and_compressed_zip_files_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        read_torch_weights(tmp_path / "other.pth")
    bomb = zip_file(tmp_path / "bomb.pth", b"\x00" * 10_000_000, {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        read_torch_weights(bomb)


def test_checkpoint_around_a_state_dict_is_refused_with_a_remedy(tmp_path: Path) -> None:
    tree = state_dict({"epoch": number(3), "w": tensor("a", 6, (6,), (1,))})
    with pytest.raises(ValueError, match=r"not a state_dict.*save model\.state_dict"):
        read_torch_weights(legacy_file(tmp_path / "w.pth", tree, {"a": SIX}))


@pytest.mark.parametrize("data", [b"", b"not a weight file", pickle.dumps([1, 2]), np.zeros(9).tobytes()])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(ValueError, match="cannot read the weights"):
        read_torch_weights(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pickletools, for damaged strings
def test_damaged_files_give_arrays_or_a_value_error(tmp_path: Path) -> None:
    whole = legacy_file(tmp_path / "w.pth", state_dict({"w": tensor("a", 6, (6,), (1,))}), {"a": SIX}).read_bytes()
    generator, refused = np.random.default_rng(0), 0
    for _ in range(2000):
        data = bytearray(whole)
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            data[place] = generator.integers(0, 256)
        (tmp_path / "damaged.pth").write_bytes(data)
        try:
            assert all(isinstance(array, np.ndarray) for array in read_torch_weights(tmp_path / "damaged.pth").values())
        except ValueError:
            refused += 1
    assert refused > 1000


def test_header_is_valid_pickle() -> None:
    assert pickle.load(io.BytesIO(HEADER[0])) == 0x1950A86A20F9469CFC6C and pickle.loads(HEADER[1]) == 1001
