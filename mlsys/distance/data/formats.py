"""Where the elements stand in a file, by format. Headers are read here; elements only when they are wanted.

Each reader takes a path and the option that chooses among tensors, and returns a `Layout`, or raises UserError with
the end of a sentence that begins with the option and the path. Formats with a parser of their own library are read
by it; what it leaves open is checked here: that the file holds exactly what its header declares.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors as library
import torch

from mlsys.distance.data.layout import Key, Layout
from mlsys.distance.data.pt import pt
from mlsys.errors import UserError, one_line

NUMPY_DTYPES = {
    np.dtype(name): getattr(torch, name) for name in ("float64", "float32", "float16", "int8")
}  # fmt: skip
LONGEST_ROW = 1 << 20  # a row is read whole, whatever the memory budget
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # the same but for names of fields, which no vector has
}
SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I8": torch.int8,
}


def npy(path: Path, key: Key) -> Layout:
    """NumPy's format, versions 1 to 3, without objects."""
    key.unused("is a .npy file, which holds one array")
    with path.open("rb") as file:
        shape, fortran, dtype = _npy_header(file)
        offset = file.tell()
    if dtype.hasobject:
        raise UserError("holds objects, which would need unpickling: save an array of numbers")
    if dtype not in NUMPY_DTYPES or not dtype.isnative:
        raise UserError(f"has dtype {dtype.str}, not one of float64, float32, float16, int8 of this machine")
    if any(length < 0 for length in shape):
        raise UserError(f"is no .npy file: its header declares the shape {shape}")
    if fortran and len(shape) > 1:
        raise UserError("is stored column by column (Fortran order): save it in C order")
    return Layout(shape, NUMPY_DTYPES[dtype], offset)


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        if version not in NPY_HEADERS:
            raise UserError(f"has .npy version {version[0]}.{version[1]}; 1.0, 2.0 and 3.0 can be read")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a header that Python can only just parse
            return NPY_HEADERS[version](file)
    except (UserError, OSError):
        raise
    except Exception as error:  # NumPy parses the header as Python, whose parser raises a dozen types
        raise UserError(f"is no .npy file: {one_line(error)}") from error


def safetensors(path: Path, key: Key) -> Layout:
    """The safetensors format, its header checked by its library: sizes against shapes, no overlaps, no gaps."""
    try:
        with library.safe_open(path, framework="numpy") as content:
            name = key.choose(sorted(content.keys()))
            piece = content.get_slice(name)
            shape, dtype = tuple(piece.get_shape()), str(piece.get_dtype())
    except library.SafetensorError as error:
        reason = one_line(error).removeprefix("Error while deserializing header: ")
        raise UserError(f"is no .safetensors file: {reason}") from error
    if dtype not in SAFETENSORS_DTYPES:
        raise UserError(f"has dtype {dtype}, not one of {', '.join(SAFETENSORS_DTYPES)}")
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        begin = json.loads(file.read(length))[name]["data_offsets"][0]
    return Layout(shape, SAFETENSORS_DTYPES[dtype], 8 + length + begin, exact=False)


def f32(path: Path, key: Key) -> Layout:
    """Raw little-endian float32."""
    key.unused("is a .f32 file, which holds one vector")
    size = path.stat().st_size
    if size % 4:
        raise UserError(f"has {size} bytes, which is no whole number of float32")
    return Layout((size // 4,), torch.float32)


def fvecs(path: Path, key: Key) -> Layout:
    """The format of the TEXMEX corpora: each vector is an int32 dimension and that many float32."""
    key.unused("is a .fvecs file, whose vectors have no names")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4)
    (dim,) = struct.unpack("<i", head) if len(head) == 4 else (0,)
    if dim < 1 or size % (4 + 4 * dim):
        raise UserError(
            f"is no .fvecs file: {size} bytes do not hold vectors of the dimension {dim} that it begins with"
        )
    rows = size // (4 + 4 * dim)
    if rows == 1:
        return Layout((dim,), torch.float32, offset=4)
    if dim > LONGEST_ROW:
        raise UserError(f"has vectors of the dimension {dim}; .fvecs is read up to {LONGEST_ROW}")
    return Layout((rows, dim), torch.float32, row_head=dim)


READERS: dict[str, Callable[[Path, Key], Layout]] = {
    ".npy": npy,
    ".safetensors": safetensors,
    ".pt": pt,
    ".f32": f32,
    ".fvecs": fvecs,
}
