"""Where a tensor stands in what `torch.save` writes: a zip archive with one stored record for each storage.

`torch.load` with `weights_only=True` and `map_location="meta"` reads the index (it checks its checksum) and no
elements; each storage then knows where its record begins (`_checkpoint_offset`, in torch's notes on serialization).
torch believes the index about a record's size, and would read on into the next one: here every record is held
against the archive's own directory.
"""

from __future__ import annotations

import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mlsys.distance.data.layout import Key, Layout
from mlsys.errors import UserError, one_line
from mlsys.quantities import format_bytes

MOST_INDEX_BYTES = 64 << 20
LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip entry: the lengths of its name and of its extra field
KINDS = (torch.Tensor, torch.nn.Parameter)


def pt(path: Path, key: Key) -> Layout:
    """A tensor, or one of those in dicts, lists and tuples: `model.weight`, `0`. Nothing else is unpickled."""
    records = _records(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused below
            content = torch.load(path, map_location="meta", weights_only=True)
        named = list(_named(content, "", set()))
        offsets = [_offset(tensor, records) for _, tensor in named]
    except (UserError, OSError):
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            "needs unpickling of more than tensors: save a tensor, or a dict of tensors"
        ) from error
    except Exception as error:  # a damaged index can make the unpickler raise anything
        raise UserError(f"cannot be read: {one_line(error)}") from error
    if isinstance(content, torch.Tensor):
        key.unused("holds one tensor, without a name")
        return _layout(content, offsets[0])
    if not named:
        raise UserError(f"holds a {type(content).__name__} without tensors")
    name = key.choose([name for name, _ in named])
    found = [
        (tensor, offset) for (other, tensor), offset in zip(named, offsets, strict=True) if other == name
    ]
    if len(found) > 1:
        raise UserError(f"has {len(found)} tensors that are reached by {name}")
    return _layout(*found[0])


def _layout(tensor: torch.Tensor, offset: int | None) -> Layout:
    if offset is None:
        raise UserError("holds a tensor of a special kind: save a plain one")
    if not tensor.is_contiguous():
        raise UserError("holds a tensor that is not contiguous: save tensor.contiguous()")
    return Layout(tuple(tensor.shape), tensor.dtype, offset, exact=False)


def _offset(tensor: torch.Tensor, records: dict[int, int]) -> int | None:
    """The byte at which a plain tensor begins, inside a record that holds all of it; None for other kinds."""
    if type(tensor) not in KINDS or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_neg():
        return None
    storage = tensor.untyped_storage()
    begin = getattr(storage, "_checkpoint_offset", None)
    if begin is None or begin not in records:
        raise UserError("is damaged, or compressed: its elements are not where its index says")
    if records[begin] != storage.nbytes():
        raise UserError(
            f"is damaged: its index declares {storage.nbytes()} bytes where {records[begin]} are stored"
        )
    within = tensor.storage_offset() * tensor.element_size()
    if tensor.is_contiguous() and within + tensor.nbytes > storage.nbytes():
        raise UserError("is damaged: its index declares a tensor beyond what is stored")
    return int(begin + within)


def _records(path: Path) -> dict[int, int]:
    """Where each stored record of the archive begins, and its size. Raises UserError for what cannot be read."""
    try:
        if not zipfile.is_zipfile(path):
            raise UserError("is no file of torch.save, is cut off, or is older than torch 1.6: save it again")
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
            _check(archive, entries)
            found = {}
            for entry in archive.infolist():
                if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size:
                    file.seek(entry.header_offset)
                    header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
                    found[entry.header_offset + LOCAL_HEADER.size + sum(header)] = entry.file_size
            return found
    except (UserError, OSError):
        raise
    except Exception as error:  # zipfile leaves struct's, zlib's and Unicode's errors as they are
        raise UserError(f"is a damaged archive: {one_line(error)}") from error


def _check(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> None:
    if "constants.pkl" in entries:
        raise UserError("is a TorchScript program: save a tensor, or a dict of tensors")
    if "data.pkl" not in entries:
        raise UserError("is an archive, but none of torch.save")
    if entries["data.pkl"].file_size > MOST_INDEX_BYTES:
        raise UserError(f"has an index of more than {format_bytes(MOST_INDEX_BYTES)}")
    order = entries.get("byteorder")
    if order is not None and archive.read(order) != sys.byteorder.encode():
        raise UserError(f"was not saved on a {sys.byteorder}-endian machine like this one")


def _named(content: Any, name: str, seen: set[int]) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor with the path that leads to it; containers that hold each other are entered once."""
    if isinstance(content, torch.Tensor):
        yield name, content
    if not isinstance(content, dict | list | tuple) or id(content) in seen:
        return
    seen.add(id(content))
    for inner, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield from _named(value, f"{name}.{inner}" if name else str(inner), seen)
