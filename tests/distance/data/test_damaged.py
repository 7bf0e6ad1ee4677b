"""Damaged and made-up files: each reader refuses in one line, or gives what an independent reader gives.

`MLSYS_FUZZ=20000 pytest -s tests/distance/data/test_damaged.py` tries that many files and says what became of them.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from mlsys.distance.data.file import File
from mlsys.errors import UserError

pytestmark = pytest.mark.slow

FILES = int(os.environ.get("MLSYS_FUZZ", "300"))
SUFFIXES = (".npy", ".safetensors", ".pt", ".f32", ".fvecs")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)
KEYS = (None, None, None, None, "a", "b.c", "1", "model.a")
NUMBERS = st.one_of(st.integers(-3, 70), st.sampled_from([2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1]))
VALUES = st.one_of(
    NUMBERS, st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.lists(NUMBERS, max_size=3)
)


@st.composite
def tensors(draw: Any, dtypes: tuple[torch.dtype, ...] = DTYPES) -> torch.Tensor:
    shape = draw(
        st.one_of(
            st.lists(st.integers(1, 40), min_size=1, max_size=1), st.lists(st.integers(0, 7), max_size=3)
        )
    )
    dtype = draw(st.sampled_from(dtypes))
    return torch.arange(int(np.prod(shape))).reshape(shape).to(dtype)


@st.composite
def edited(draw: Any, content: bytes) -> bytes:
    """`content` with bytes overwritten, put in, taken out, copied or cut off, most often near its ends."""
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        at = draw(st.one_of(st.integers(0, 20), st.integers(-250, 400))) % (len(content) + 1)
        new, length = draw(st.binary(max_size=8)), draw(st.integers(0, 40))
        content = draw(
            st.sampled_from(
                [
                    content[:at] + new + content[at + len(new) :],
                    content[:at] + new + content[at:],
                    content[:at] + content[at + length :],
                    content[:at] + content[at : at + length] + content[at:],
                    content[:at],
                ]
            )
        )
    return content


@st.composite
def npy(draw: DrawFn) -> bytes:
    file = io.BytesIO()
    np.save(file, draw(tensors(tuple(d for d in DTYPES if d != torch.bfloat16))).numpy())
    content = file.getvalue()
    if draw(st.booleans()):
        return draw(edited(content))
    fields = {
        "descr": draw(
            st.sampled_from(
                ["<f4", "<f4", "<f2", ">f4", "<f8", "|i1", "<i8", "|O", "<V2", "|b1", "<f4,<f4", 3]
            )
        ),
        "fortran_order": draw(st.one_of(st.booleans(), VALUES)),
        "shape": draw(st.one_of(st.lists(NUMBERS, max_size=3).map(tuple), VALUES)),
    }
    if draw(st.booleans()):
        fields |= {"fortran_order": False, "shape": tuple(draw(st.lists(st.integers(0, 8), max_size=2)))}
    text = draw(edited(repr(fields).encode()))
    version = draw(st.sampled_from([1, 2, 3, 9]))
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + draw(st.binary(max_size=64))


@st.composite
def safe(draw: DrawFn) -> bytes:
    named = draw(st.dictionaries(st.sampled_from(["a", "b", "c\n", ""]), tensors(), min_size=1, max_size=3))
    content: bytes = safetensors.torch.save(named)
    if draw(st.booleans()):
        return draw(edited(content))
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    for entry in header.values():
        for field in draw(
            st.sampled_from([[], [], ["dtype"], ["shape"], ["data_offsets"], ["dtype", "shape"]])
        ):
            entry[field] = draw(
                st.one_of(
                    VALUES,
                    st.sampled_from(["F64", "F32", "BF16", "I8", "F8_E4M3", "?"]),
                    st.lists(NUMBERS, min_size=2, max_size=2),
                )
            )
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@st.composite
def pt(draw: DrawFn) -> bytes:
    named: Any = draw(st.dictionaries(st.sampled_from(["a", 1, "b.c"]), tensors(), min_size=1, max_size=3))
    whole = draw(st.sampled_from([named, {"model": named, "step": 3}, list(named.values()), draw(tensors())]))
    file = io.BytesIO()
    torch.save(whole, file)
    if draw(st.booleans()):
        return draw(edited(file.getvalue()))
    made = io.BytesIO()  # the same records, one of them edited, with right checksums
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(made, "w") as new:
        chosen = draw(st.sampled_from(old.namelist()))
        for name in old.namelist():
            record = old.read(name)
            method = draw(st.sampled_from([zipfile.ZIP_STORED] * 9 + [zipfile.ZIP_DEFLATED]))
            new.writestr(name, draw(edited(record)) if name == chosen else record, method)
    return made.getvalue()


@st.composite
def rows(draw: DrawFn) -> bytes:
    common = draw(st.integers(1, 9))
    dims = draw(
        st.lists(st.one_of(st.just(common), NUMBERS.filter(lambda n: n < 2**31)), min_size=1, max_size=4)
    )
    parts = [struct.pack("<i", dim) + np.arange(max(0, min(dim, 70)), dtype="<f4").tobytes() for dim in dims]
    return draw(edited(b"".join(parts)))


CONTENTS: dict[str, st.SearchStrategy[bytes]] = {
    ".npy": npy(),
    ".safetensors": safe(),
    ".pt": pt(),
    ".f32": st.one_of(st.binary(max_size=64), st.binary(min_size=16, max_size=16)),
    ".fvecs": rows(),
}


def read_pt(path: Path, key: str | None) -> torch.Tensor:
    try:
        content = torch.load(path, weights_only=True)
    except RuntimeError as error:  # elements whose checksum is wrong, which torch does not mind in a mapping
        assert "crc" in str(error).lower()  # noqa: PT017
        content = torch.load(path, weights_only=True, mmap=True)
    while not isinstance(content, torch.Tensor):
        pairs = list(content.items() if isinstance(content, dict) else enumerate(content))
        pairs = [(str(name), value) for name, value in pairs if not isinstance(value, int)]
        if key is None:
            ((name, content),) = pairs
        else:
            (name, content), *_ = [(n, value) for n, value in pairs if key == n or key.startswith(f"{n}.")]
            key = key.removeprefix(name).removeprefix(".") or None
    return content


def read_safe(path: Path, key: str | None) -> torch.Tensor:
    named: dict[str, torch.Tensor] = safetensors.torch.load(path.read_bytes())
    return named[key] if key is not None else next(iter(named.values()))


def read_rows(path: Path, key: str | None) -> torch.Tensor:
    content, parts = path.read_bytes(), []
    while content:
        (dim,) = struct.unpack("<i", content[:4])
        parts.append(np.frombuffer(content[4 : 4 + 4 * dim], "<f4"))
        assert len(parts[-1]) == dim == len(parts[0])
        content = content[4 + 4 * dim :]
    return torch.from_numpy(np.concatenate(parts))


INDEPENDENT: dict[str, Callable[[Path, str | None], torch.Tensor]] = {
    ".npy": lambda path, key: torch.from_numpy(np.load(path, allow_pickle=False)),
    ".safetensors": read_safe,
    ".pt": read_pt,
    ".f32": lambda path, key: torch.from_numpy(np.fromfile(path, "<f4")),
    ".fvecs": read_rows,
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_refused_in_a_line_or_read_as_others_read_it(tmp_path: Path, suffix: str) -> None:
    path, counts = tmp_path / f"vector{suffix}", {"refused": 0, "read": 0}

    @settings(
        max_examples=max(1, FILES // len(SUFFIXES)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(CONTENTS[suffix], st.sampled_from(KEYS), st.sampled_from([True, True, False]))
    def check(content: bytes, key: str | None, flatten: bool) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        try:
            source, _ = File(x=str(path), y=str(path), x_key=key, y_key=key, flatten=flatten).open(
                0, torch.float32, 0
            )
            whole = source.tensor()
        except UserError as error:
            line = str(error)
            assert str(path) in line
            assert line.isprintable()
            assert len(line) < 700
            counts["refused"] += 1
            return
        counts["read"] += 1
        other = INDEPENDENT[suffix](path, key).flatten()
        assert whole.dtype == other.dtype
        assert whole.view(torch.uint8).tolist() == other.contiguous().view(torch.uint8).tolist()
        piece = whole[len(whole) // 2 :].clone().zero_()
        source.read(len(whole) // 2, len(whole), piece)
        assert piece.view(torch.uint8).tolist() == whole[len(whole) // 2 :].view(torch.uint8).tolist()

    check()
    print(f"{suffix}: {counts['refused']} refused, {counts['read']} read")
