"""Reads the tensors of a PyTorch state dict without PyTorch.

The format is the one that `torch.save` wrote before version 1.6: five pickles (magic number, protocol,
machine, the dict itself, the storage keys), then each storage as an int64 count and its raw elements.
Pickles can run code, so only the four names that a state dict needs may be looked up.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Callable, NamedTuple

import numpy as np
import numpy.typing as npt

from image_pca.errors import JobError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT = np.dtype("<i8")
_STORAGES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _StorageType:
    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]
    elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: object) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows tensors, storages and ordered dicts; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which no state dict needs")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, count, view = pid
        if kind != "storage" or view is not None or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        return _Storage(str(key), storage_type.dtype, int(count))


def read_state_dict(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Name → array (float32, or int64 for counters) of each tensor in the file; JobError when it is no such file."""
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except OSError as error:
        raise JobError("Weights cannot be read", str(path), f"{error}.", "Check the path and its rights.") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise JobError(
            "Weights are not a PyTorch state dict",
            str(path),
            f"{type(error).__name__}: {error}.",
            "Use the file that models.yml names for this model; compare its sha256.",
        ) from error


def _read(file: BinaryIO, file_size: int) -> dict[str, npt.NDArray[Any]]:
    def load() -> Any:
        return _Unpickler(file).load()

    if load() != _MAGIC or load() != _PROTOCOL:
        raise ValueError("the magic number of torch.save before 1.6 is missing")
    if load().get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine")
    tensors: dict[str, _Tensor] = dict(load())
    order: list[str] = load()
    wanted = {str(tensor.storage.key): tensor.storage for tensor in tensors.values()}
    storages = {str(key): _read_storage(file, wanted[str(key)], file_size) for key in order}
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, storage: _Storage, file_size: int) -> npt.NDArray[Any]:
    count = int(np.frombuffer(_exactly(file.read, _COUNT.itemsize), _COUNT)[0])
    size = count * storage.dtype.itemsize
    if count != storage.elements or size > file_size:
        raise ValueError(f"storage {storage.key} has {count} elements instead of {storage.elements}")
    return np.frombuffer(_exactly(file.read, size), storage.dtype)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise ValueError("the file ends early")
    return data


def _view(tensor: _Tensor, storage: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The tensor's elements, copied in its own order: converted weights lie transposed in their storage."""
    if len(tensor.shape) != len(tensor.strides) or min((0, tensor.offset, *tensor.shape, *tensor.strides)) < 0:
        raise ValueError("a tensor's shape makes no sense")
    last = tensor.offset + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides))
    if 0 in tensor.shape or last >= storage.size:
        raise ValueError("a tensor reaches beyond its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False).copy()
