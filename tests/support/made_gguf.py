"""A GGUF file of a few numbers with a tokenizer beside it, for engines that are doubles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import saving
from gguf import GGMLQuantizationType, GGUFWriter, quantize


def made(folder: Path, name: str = "small.gguf") -> Path:
    """The file; its tokenizer knows single bytes and the three special tokens."""
    writer = GGUFWriter(folder / name, "llama")
    rows = np.ones((8, 64), np.float32)
    writer.add_tensor(
        "output.weight",
        quantize(rows, GGMLQuantizationType.Q4_1),
        raw_dtype=GGMLQuantizationType.Q4_1,
    )
    writer.add_tensor("output_norm.weight", rows[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    saving.vocabulary(folder, 259)
    return folder / name
