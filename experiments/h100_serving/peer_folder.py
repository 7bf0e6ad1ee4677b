"""The folder that this project's engine and another load alike: random weights in a published shape, and words.

The tokenizer has a word for each id, so that a prompt of n words is n tokens to both and every answer has a text.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from mlsys.rag.generator.shapes import SHAPES, config

ROOT = Path(__file__).resolve().parents[2]
SPECIAL = ("<none>", "<begin>", "<end>")  # ids 0, 1 and 2, which no prompt has
FEWEST, MOST = 128, 256  # tokens of a prompt, 192 on average


OURS = ("generator=model", "generator.compile=true", "generator.dtype=bfloat16", "embedder=hashing", "corpus=animals",
        "scheduling.prefix_cache=false")  # fmt: skip


def options(about: str, rounds: int) -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="of the environment with vLLM")
    parser.add_argument("--directory", type=Path, default=ROOT / "outputs" / "vllm", help="for the results")
    parser.add_argument("--model", type=Path, default=ROOT / "outputs" / "vllm-model", help="for the weights")
    parser.add_argument("--shape", default="smollm2-135m", choices=SHAPES)
    parser.add_argument("--device", default="cuda", help="of this project's engine")
    parser.add_argument("--new", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a level of the load")
    parser.add_argument("--start-s", type=float, default=300.0, help="for a service to be ready")
    asked = parser.parse_args()
    asked.directory, asked.model = asked.directory.resolve(), asked.model.resolve()
    asked.directory.mkdir(parents=True, exist_ok=True)
    return asked


def ours(folder: Path, asked: argparse.Namespace) -> list[str]:
    """Options of run.py for this project's engine on the folder."""
    own = f"generator.model={folder}", f"generator.max_new_tokens={asked.new}"
    return [*OURS, *own, f"generator.max_prompt_tokens={MOST}", f"device={asked.device}"]


def vocabulary(shape: str) -> int:
    """How many ids the shape has."""
    size: int = SHAPES[shape]["vocab_size"]
    return size


def made(folder: Path, shape: str) -> Path:
    """The folder, written where it is not there yet."""
    if not (folder / "tokenizer.json").exists():
        shaped = config(shape)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(shaped, dtype=torch.bfloat16)
        model.save_pretrained(folder)
        _words(shaped.vocab_size).save_pretrained(folder)
    return folder


def _words(size: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = [*SPECIAL, *(f"w{id_}" for id_ in range(len(SPECIAL), size))]
    tokenizer = Tokenizer(
        models.WordLevel({name: id_ for id_, name in enumerate(names)}, unk_token=SPECIAL[0])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    none, begin, end = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=none, bos_token=begin, eos_token=end, pad_token=end
    )


def prompts(count: int, seed: int, vocabulary: int) -> list[list[int]]:
    """Ids drawn alike, each prompt of a length of its own: none begins as another does."""
    drawn = random.Random(seed)
    lengths = [drawn.randint(FEWEST, MOST) for _ in range(count)]
    return [[drawn.randrange(len(SPECIAL), vocabulary) for _ in range(length)] for length in lengths]


def questions(path: Path, count: int, vocabulary: int) -> Path:
    """The same as texts, for a load test: one object with `prompt` a line."""
    texts = (" ".join(f"w{id_}" for id_ in ids) for ids in prompts(count, 7, vocabulary))
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    return path
