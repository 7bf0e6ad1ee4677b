"""data=file: every format gives the vector back, every kind of bad file one line that names option and path."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mlsys.distance.data.file import File, FileSource
from mlsys.distance.data.formats import READERS
from mlsys.distance.data.layout import Key, Layout
from mlsys.errors import UserError

N = 1_500_007  # more than one part of a read


def write(path: Path, vector: torch.Tensor) -> Path:
    if path.suffix == ".npy":
        np.save(path, vector.numpy())
    elif path.suffix == ".safetensors":
        save_file({"vector": vector}, path)
    elif path.suffix == ".pt":
        torch.save(vector, path)
    elif path.suffix == ".f32":
        vector.numpy().tofile(path)
    else:
        rows = vector[None] if vector.ndim == 1 else vector
        head = np.full((len(rows), 1), rows.shape[1], np.int32).view(np.float32)
        np.hstack([head, rows.numpy()]).tofile(path)
    return path


def opened(path: Path, **knobs: Any) -> FileSource:
    source, _ = File(x=str(path), y=str(path), **knobs).open(0, torch.float32, 0)
    assert isinstance(source, FileSource)
    return source


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".pt", ".f32", ".fvecs"])
def test_every_format_gives_the_vector_back(tmp_path: Path, suffix: str) -> None:
    vector = torch.randn(N)
    vector[77] = torch.nan
    source = opened(write(tmp_path / f"v{suffix}", vector))
    assert (source.n, source.dtype, source.description) == (N, torch.float32, f"v{suffix}")
    assert torch.equal(source.tensor().nan_to_num(), vector.nan_to_num())
    assert source.nan_count() == 1
    for start, stop in ((0, 1), (N - 3, N), (999, 1_234_567)):
        piece = torch.empty(stop - start)
        source.read(start, stop, piece)
        assert torch.equal(piece.nan_to_num(), vector[start:stop].nan_to_num())
        part = source.part(start, stop)
        assert torch.equal(part.tensor().nan_to_num(), piece.nan_to_num())
        assert part.nan_count() == int(piece.isnan().sum())


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int8], ids=str)
def test_every_dtype_that_a_format_has(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    if (suffix, dtype) == (".npy", torch.bfloat16):
        pytest.skip("NumPy has no bfloat16")
    vector = (torch.randn(1_000) * 50).to(dtype)
    source = opened(write(tmp_path / f"v{suffix}", vector))
    assert source.dtype == dtype
    assert torch.equal(source.tensor(), vector)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".pt", ".fvecs"])
def test_rows_are_one_vector_only_when_asked(tmp_path: Path, suffix: str) -> None:
    rows = torch.randn(700, 96)
    path = write(tmp_path / f"rows{suffix}", rows)
    with pytest.raises(UserError) as caught:
        opened(path)
    assert str(caught.value) == (
        f"data.x={path} is 2-D, of shape (700, 96): a distance takes one vector; "
        "data.flatten=true reads it as one, row after row"
    )
    source = opened(path, flatten=True)
    assert torch.equal(source.tensor(), rows.view(-1))
    piece = torch.empty(1_000)
    source.read(95, 1_095, piece)
    assert torch.equal(piece, rows.view(-1)[95:1_095])
    assert source.description == f"rows{suffix}, (700, 96) row after row"


def test_a_key_chooses_among_tensors(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(5), "b": torch.zeros(6)}
    save_file(tensors, tmp_path / "two.safetensors")
    torch.save(tensors, tmp_path / "two.pt")
    for path in (tmp_path / "two.safetensors", tmp_path / "two.pt"):
        assert opened(path, x_key="b", y_key="b").n == 6
        with pytest.raises(UserError, match=r"has 2 tensors \(a, b\): choose one with data.x_key=NAME"):
            opened(path)
        with pytest.raises(UserError, match=r"has no tensor c \(from data.x_key\); it has a, b"):
            opened(path, x_key="c")


def test_tensors_within_dicts_and_lists_are_chosen_by_the_way_to_them(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    vector = torch.arange(10.0)
    torch.save(
        {"model": {"w": vector[2:6], "b": vector}, "best": [torch.ones(3), 5], 7: torch.zeros(2)}, path
    )
    for key, wanted in (
        ("model.w", vector[2:6]),
        ("model.b", vector),
        ("best.0", torch.ones(3)),
        ("7", torch.zeros(2)),
    ):
        assert torch.equal(opened(path, x_key=key, y_key=key).tensor(), wanted)
    with pytest.raises(UserError) as caught:
        opened(path)
    assert str(caught.value) == (
        f"data.x={path} has 4 tensors (model.w, model.b, best.0, 7): choose one with data.x_key=NAME"
    )
    torch.save({"a.b": vector, "a": {"b": vector}}, path)
    with pytest.raises(UserError, match="has 2 tensors that are reached by"):
        opened(path, x_key="a.b")


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".f32", ".fvecs"])
def test_a_key_where_there_is_nothing_to_choose_is_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"v{suffix}", torch.ones(5))
    with pytest.raises(UserError, match=f"data.x={path} .*: leave out data.x_key=w$"):
        opened(path, x_key="w")


def test_missing_paths_and_pairs_that_differ(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.x=null: data=file needs the paths data\.x and data\.y"):
        File().open(0, torch.float32, 0)
    five = write(tmp_path / "five.npy", torch.ones(5))
    six = write(tmp_path / "six.npy", torch.ones(6))
    double = write(tmp_path / "double.npy", torch.ones(5).double())
    with pytest.raises(UserError) as caught:
        File(x=str(five), y=str(six)).open(0, torch.float32, 0)
    assert str(caught.value) == f"data.x={five} has 5 elements and data.y={six} has 6"
    with pytest.raises(UserError) as caught:
        File(x=str(five), y=str(double)).open(0, torch.float32, 0)
    assert str(caught.value) == f"data.x={five} is torch.float32 and data.y={double} is torch.float64"


def bad(tmp_path: Path, name: str, content: Any) -> Path:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, np.ndarray):
        np.save(path, content, allow_pickle=True)
    elif content is not None:
        torch.save(content, path)
    return path


def safe(**entries: Any) -> bytes:
    fields = ("dtype", "shape", "data_offsets")
    header = {
        name: {field: value for field, value in zip(fields, entry, strict=True) if value is not None}
        for name, entry in entries.items()
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + np.arange(12, dtype=np.float32).tobytes()


def npy(n: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(n, np.float32))
    return file.getvalue()


def index_says_more() -> bytes:
    """A file of torch.save whose tensor of five is declared to have six elements; the checksums are right."""
    saved, made = io.BytesIO(), io.BytesIO()
    torch.save(torch.ones(5), saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"K\x05", b"K\x06"))
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npy", None, "is not there"),
        ("empty.npy", b"", "is empty"),
        ("text.npy", b"not an array at all", "is no .npy file"),
        ("objects.npy", np.array([{}, 1], object), "holds objects, which would need unpickling"),
        ("whole.npy", np.arange(5), "has dtype <i8, not one of float64, float32, float16, int8"),
        ("foreign.npy", np.ones(5, ">f4"), "has dtype >f4, not one of"),
        ("nothing.npy", np.ones(0, np.float32), "has no elements"),
        ("scalar.npy", np.zeros((), np.float32), "is 0-D, of shape ()"),
        ("columns.npy", np.asfortranarray(np.ones((3, 2), np.float32)), "is stored column by column"),
        ("vector.csv", b"1,2,3", "is none of .npy, .safetensors, .pt, .f32, .fvecs"),
        ("code.pt", {"f": Path}, "needs unpickling of more than tensors"),
        ("list.pt", [3, "x"], "holds a list without tensors"),
        ("strided.pt", torch.ones(10)[::2], "holds a tensor that is not contiguous"),
        ("half.pt", b"PK\x03\x04 broken", "is no file of torch.save, is cut off, or is older than"),
        ("odd.f32", b"12345", "has 5 bytes, which is no whole number of float32"),
        ("odd.fvecs", b"\x03\x00\x00\x00123", "is no .fvecs file"),
        (
            "two.fvecs",
            b"\x01\x00\x00\x00\0\0\0\0\x02\x00\x00\x00\0\0\0\0",
            ": vector 1 has the dimension 2, the first has 1",
        ),
        ("odd.safetensors", b"\xff" * 20, "is no .safetensors file"),
        (
            "short.safetensors",
            safe(a=("F32", [12], [0, 24]), b=("F32", [6], [24, 48])),
            "is no .safetensors file",
        ),
        (
            "before.safetensors",
            safe(a=("F32", [12], [-40, 8])),
            "is no .safetensors file: invalid JSON in header",
        ),
        (
            "gap.safetensors",
            safe(a=("F32", [6], [0, 24]), b=("F32", [5], [28, 48])),
            "is no .safetensors file",
        ),
        (
            "shared.safetensors",
            safe(a=("F32", [12], [0, 48]), b=("F32", [6], [24, 48])),
            "is no .safetensors file",
        ),
        (
            "untyped.safetensors",
            safe(a=(None, [12], [0, 48])),
            "is no .safetensors file: invalid JSON in header",
        ),
        ("long.npy", npy(5) + b"1234", "has 4 bytes after the 148 that its header declares"),
        (
            "negative.npy",
            npy(5).replace(b"(5,)", b"(-5,)").replace(b"  \n", b" \n"),
            "is no .npy file: its header",
        ),
        ("head.npy", npy(5)[:40], "is no .npy file: EOF: reading array header"),
        ("version.npy", b"\x93NUMPY\x09\x00", "has .npy version 9.0"),
        ("disks.pt", b"PK\x05\x06" + b"\1" * 16 + b"\0\0", "is a damaged archive"),
        ("more.pt", index_says_more(), "is damaged: its index declares 24 bytes where 20 are stored"),
    ],
)
def test_bad_files_get_one_clear_line(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = bad(tmp_path, name, content)
    with pytest.raises(UserError) as caught:
        opened(path, flatten=path.suffix == ".fvecs").tensor()
    assert str(caught.value).startswith(f"data.x={path}{'' if message[0] == ':' else ' '}{message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "v.npy", torch.ones(1_000))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=f"data.x={path} is cut off"):
        opened(path)
    path.write_bytes(whole)
    source = opened(path)
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="ended after 4028 bytes while it was read"):
        source.tensor()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a file"):
        opened(tmp_path)


def test_a_file_that_is_replaced_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "v.npy", torch.ones(1_000))

    def replaced(path: Path, key: Key) -> Layout:
        layout = npy_reader(path, key)
        write(path, torch.ones(2_000))
        return layout

    npy_reader = READERS[".npy"]
    monkeypatch.setitem(READERS, ".npy", replaced)
    with pytest.raises(UserError, match="bytes after the"):
        opened(path)
    monkeypatch.setitem(READERS, ".npy", lambda path, key: replaced(path, key) and npy_reader(path, key))
    write(path, torch.ones(1_000))
    with pytest.raises(UserError, match="changed while it was opened"):
        opened(path)
