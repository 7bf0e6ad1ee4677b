"""Where the elements stand in a file, by format. Headers are read here; elements only when they are wanted.

Each reader takes a path and a key (for formats that hold several tensors) and returns a `Layout`, or raises
UserError with the end of a sentence that begins with the option and the path.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mlsys.errors import UserError

NUMPY_DTYPES = {
    np.dtype(name): getattr(torch, name) for name in ("float64", "float32", "float16", "int8")
}  # fmt: skip
SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I8": torch.int8,
}


@dataclass(frozen=True)
class Layout:
    """Elements of `dtype` from byte `offset` on, in rows of `row_n` elements with `gap` bytes before each.

    Formats without gaps have one row. `mapped`: a tensor over the mapped file, for formats whose offsets only
    their own reader knows.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int = 0
    gap: int = 0
    mapped: torch.Tensor | None = None


def npy(path: Path, key: str | None) -> Layout:
    """NumPy's format, versions 1 to 3, without objects."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
        except ValueError as error:
            raise UserError(f"is no .npy file: {str(error).splitlines()[0]}") from error
        if dtype.hasobject:
            raise UserError("holds objects, which would need unpickling: save an array of numbers")
        if dtype not in NUMPY_DTYPES or not dtype.isnative:
            raise UserError(
                f"has dtype {dtype.str}, not one of float64, float32, float16, int8 of this machine"
            )
        if fortran and len(shape) > 1:
            raise UserError("is stored column by column (Fortran order): save it in C order")
        return Layout(shape, NUMPY_DTYPES[dtype], file.tell())


def safetensors(path: Path, key: str | None) -> Layout:
    """The safetensors format: a length, a JSON header, the data."""
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < path.stat().st_size else None
        except (struct.error, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError("is no .safetensors file") from error
    if not isinstance(header, dict):
        raise UserError("is no .safetensors file")
    header.pop("__metadata__", None)
    entry = header[only(list(header), key)]
    if entry["dtype"] not in SAFETENSORS_DTYPES:
        raise UserError(f"has dtype {entry['dtype']}, not one of {', '.join(SAFETENSORS_DTYPES)}")
    return Layout(
        tuple(entry["shape"]), SAFETENSORS_DTYPES[entry["dtype"]], 8 + length + entry["data_offsets"][0]
    )  # fmt: skip


def pt(path: Path, key: str | None) -> Layout:
    """What `torch.save` writes of a tensor or a dict of tensors; nothing else is unpickled."""
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            "needs unpickling of more than tensors: save a tensor, or a dict of tensors"
        ) from error
    except (RuntimeError, EOFError) as error:
        raise UserError(f"cannot be read: {str(error).splitlines()[0]}") from error
    if isinstance(content, dict):
        content = content[
            only([name for name, value in content.items() if isinstance(value, torch.Tensor)], key)
        ]
    if not isinstance(content, torch.Tensor):
        raise UserError(f"holds a {type(content).__name__}, not a tensor")
    if not content.is_contiguous():
        raise UserError("holds a tensor that is not contiguous: save tensor.contiguous()")
    return Layout(tuple(content.shape), content.dtype, mapped=content.detach())


def f32(path: Path, key: str | None) -> Layout:
    """Raw little-endian float32."""
    size = path.stat().st_size
    if size % 4:
        raise UserError(f"has {size} bytes, which is no whole number of float32")
    return Layout((size // 4,), torch.float32)


def fvecs(path: Path, key: str | None) -> Layout:
    """The format of the TEXMEX corpora: each vector is an int32 dimension and that many float32."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4)
    (dim,) = struct.unpack("<i", head) if len(head) == 4 else (0,)
    if dim < 1 or size % (4 + 4 * dim):
        raise UserError(
            f"is no .fvecs file: {size} bytes do not hold vectors of the dimension {dim} that it begins with"
        )
    rows = size // (4 + 4 * dim)
    return Layout((dim,) if rows == 1 else (rows, dim), torch.float32, 0, 4)


def only(names: list[str], key: str | None) -> str:
    """The entry meant: `key`, or the only one there is."""
    if key is not None and key not in names:
        raise UserError(f"has no tensor {key}; it has {', '.join(names) or 'none'}")
    if key is None and len(names) != 1:
        raise UserError(f"has {len(names)} tensors ({', '.join(names[:5])}): choose one with a key")
    return names[0] if key is None else key


READERS: dict[str, Callable[[Path, str | None], Layout]] = {
    ".npy": npy,
    ".safetensors": safetensors,
    ".pt": pt,
    ".f32": f32,
    ".fvecs": fvecs,
}
