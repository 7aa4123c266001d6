"""Reading a state dict must give its tensors and run nothing, whatever is in the file."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from image_pca.errors import JobError
from image_pca.torch_state import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C
HEADER = (MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})


def evil(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls module.name(argument)."""
    text = argument.encode()
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X" + struct.pack("<I", len(text)) + text + b"\x85R."


def header() -> bytes:
    return b"".join(pickle.dumps(part, protocol=2) for part in HEADER)


def tensor_pickle(count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """{"w": torch._utils._rebuild_tensor_v2(FloatStorage "0" of count elements, offset, shape, strides, False, {})}"""

    def plain(value: object) -> bytes:
        return pickle.dumps(value, protocol=2)[2:-1]

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + plain("0") + plain("cpu") + plain(count) + b"NtQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + plain(offset) + plain(shape) + plain(strides) + b"\x89}tR"
    return b"\x80\x02}" + plain("w") + call + b"s."


def state(count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], data: bytes) -> bytes:
    """A state dict of one tensor; `data` is the storage as it lies in the file, with its length before it."""
    return header() + tensor_pickle(count, offset, shape, strides) + pickle.dumps(["0"], protocol=2) + data


VALUES = np.arange(6, dtype="<f4")
STORED = struct.pack("<q", 6) + VALUES.tobytes()
HUGE = struct.pack("<q", 1 << 60) + VALUES.tobytes()


def read(folder: Path, content: bytes) -> dict[str, np.ndarray]:
    path = folder / "w.pth"
    path.write_bytes(content)
    return read_state_dict(path)


def test_a_transposed_tensor_is_read_in_its_own_order(tmp_path: Path) -> None:
    found = read(tmp_path, state(6, 0, (3, 2), (1, 3), STORED))
    assert found["w"].tolist() == VALUES.reshape(2, 3).T.tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EOFError"),
        (b"PK\x03\x04 a zip of a newer torch", "UnpicklingError"),
        (pickle.dumps(1, protocol=2), "EOFError|magic"),
        (state(6, 0, (6,), (1,), STORED[:-1]), "ends early"),
        (state(6, 4, (3,), (1,), STORED), "beyond its storage"),
        (state(6, 0, (3, 2), (4, 1), STORED), "beyond its storage"),
        (state(6, -1, (3,), (1,), STORED), "makes no sense"),
        (state(6, 5, (3,), (-1,), STORED), "makes no sense"),
        (state(1 << 60, 0, (3,), (1,), HUGE), "elements"),
        (state(6, 0, (6,), (1,), HUGE), "elements"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(JobError, match=reason):
        read(tmp_path, content)


@pytest.mark.parametrize("module, name", [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("collections", "Counter")])
@pytest.mark.parametrize("before", [b"", header()])
def test_no_code_of_a_file_is_run(tmp_path: Path, before: bytes, module: str, name: str) -> None:
    witness = tmp_path / "ran"
    with pytest.raises(JobError, match=f"asks for {module}.{name}"):
        read(tmp_path, before + evil(module, name, f"touch {witness}"))
    assert not witness.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="Weights cannot be read"):
        read_state_dict(tmp_path / "none.pth")
