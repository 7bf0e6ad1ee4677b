"""Generators as the pipeline sees them: prompts, random weights, knobs, what the description says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import saving
import torch
from scalars import number
from sections import made as option

from mlsys.errors import UserError
from mlsys.rag.generator import linear
from mlsys.rag.generator.chat import Chat
from mlsys.rag.generator.random import Random
from mlsys.rag.generator.vocabulary import build
from mlsys.rag.prompt import INSTRUCTION

CONTENTS = [(INSTRUCTION, f"[1] {'a passage ' * n}\n\nQuestion: What is {n}?") for n in (1, 7, 3)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build(1024)


@pytest.fixture(scope="module")
def generator() -> Random:
    torch.set_num_threads(1)
    made: Random = option("generator/random", shape="tiny", max_new_tokens=8)
    made.load("cpu", seed=3)
    return made


def test_batches_answer_as_single_requests_do(generator: Random) -> None:
    prompts = generator.prompts(CONTENTS)
    together = generator.generate(prompts)
    assert together == [generator.generate([prompt])[0] for prompt in prompts]
    assert all(answer.tokens == len(answer.ids) == 8 for answer in together)


def test_the_seed_decides_the_weights(generator: Random) -> None:
    state = torch.random.get_rng_state()
    same, other = (
        option("generator/random", shape="tiny", max_new_tokens=8),
        option("generator/random", shape="tiny", max_new_tokens=8),
    )
    same.load("cpu", seed=3)
    other.load("cpu", seed=4)
    prompts = generator.prompts(CONTENTS)
    assert same.generate(prompts) == generator.generate(prompts) != other.generate(prompts)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_description_says_that_weights_are_random(generator: Random) -> None:
    described = generator.describe()
    assert described["note"] == "random weights: the answers mean nothing, their cost is the shape's"
    assert described["model"] == "random tiny"
    assert described["tokenizer"] == "byte-level, made in memory"
    assert described["decoder"] == "slots"
    assert number(described["shared_prefix_tokens"]) > 5


@pytest.mark.parametrize("native", [True, False])
def test_a_type_without_instructions_is_said_once_and_in_the_record(
    native: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(linear, "multiplies", lambda _: native)
    made: Random = option("generator/random", shape="tiny", dtype="bfloat16", max_new_tokens=2)
    made.load("cpu", seed=0)
    line = "generator.dtype=bfloat16: this processor has no instructions for it"
    assert capsys.readouterr().err.count(line) == (not native)
    assert str(made.describe().get("warning")).startswith(line) == (not native)


def test_static_shapes_give_the_same_answers(generator: Random) -> None:
    static = option("generator/random", shape="tiny", max_new_tokens=8, compile=True, max_prompt_tokens=200)
    static.load("cpu", seed=3)
    static.warm(2)
    prompts = generator.prompts(CONTENTS)
    assert static.generate(prompts) == generator.generate(prompts)
    assert static.describe()["decoder"] == "static shapes, without graphs"


def test_a_prompt_is_the_models_own_form(tokenizer: Any) -> None:
    chat = Chat(tokenizer, None)
    (prompt,) = chat.prompts(CONTENTS[:1])
    assert prompt.text.startswith(
        f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n<|im_start|>user\n[1] a passage"
    )
    assert prompt.text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(prompt.ids) == prompt.text
    assert chat.ends == frozenset({tokenizer.eos_token_id})
    prefix = chat.prefix()
    assert all(prompt.ids[: len(prefix)] == prefix for prompt in chat.prompts(CONTENTS))


def test_models_without_a_template_or_a_system_role_get_a_prompt_too() -> None:
    plain = build(600)
    plain.chat_template = None
    assert Chat(plain, None).text("Do.", "What?") == "Do.\n\nWhat?\nAnswer:"
    strict = build(600)
    strict.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    )
    assert Chat(strict, None).text("Do.", "What?") == "<user>Do.\n\nWhat?"


def test_any_bytes_survive_the_vocabulary(tokenizer: Any) -> None:
    text = "naïve 🦜 \t\x07 東京"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.backend_tokenizer.get_vocab_size() <= 1024


def test_a_local_folder_is_a_model(tmp_path: Path, generator: Random) -> None:
    saving.network(generator._network, tmp_path)
    saving.vocabulary(tmp_path, 1024)
    loaded = option("generator/model", model=str(tmp_path), max_new_tokens=8)
    loaded.load("cpu", 0)
    prompts = generator.prompts(CONTENTS)
    ids = [answer.ids for answer in generator.generate(prompts)]
    assert [answer.ids for answer in loaded.generate(prompts)] == ids
    assert option("generator/smollm2", model=str(tmp_path)).model == str(tmp_path)
    too_long = option("generator/model", model=str(tmp_path), max_new_tokens=4096)
    with pytest.raises(UserError, match=r"generator.max_new_tokens=4096: .* has 4096 positions in all"):
        too_long.load("cpu", 0)


def test_a_family_that_is_not_known_decodes_through_transformers(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, GPT2Config

    config = GPT2Config(
        vocab_size=1024, n_embd=32, n_layer=1, n_head=2, n_positions=256, eos_token_id=2, bos_token_id=1
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    saving.vocabulary(tmp_path, 1024)
    loaded = option("generator/model", model=str(tmp_path), max_new_tokens=4)
    loaded.load("cpu", 0)
    answers = loaded.generate(loaded.prompts(CONTENTS))
    assert [answer.tokens for answer in answers] == [4, 4, 4]
    assert loaded.describe()["decoder"] == "transformers generate"
    assert loaded.max_prompt_tokens == 252
    with pytest.raises(UserError, match=r"generator.compile=true does not know gpt2 models"):
        option("generator/model", model=str(tmp_path), compile=True).load("cpu", 0)


def test_a_model_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    generator = option("generator/model", model=str(tmp_path))
    with pytest.raises(UserError, match=r"^generator.model=/.* cannot be loaded: [^\n]*$"):
        generator.load("cpu", 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: option("generator/smollm2", dtype="int4"),
            r"generator.dtype=int4 is none of float32, bfloat16, float16",
        ),
        (
            lambda: option("generator/smollm2", max_new_tokens=0),
            r"generator.max_new_tokens=0 must be at least 1",
        ),
        (
            lambda: option("generator/smollm2", max_prompt_tokens=-1),
            r"generator.max_prompt_tokens=-1 must be at least 1",
        ),
        (lambda: option("generator/model", model=""), r"generator.model is empty"),
        (
            lambda: option("generator/random", shape="gpt-9"),
            r"generator.shape=gpt-9 is none of smollm2-135m, ",
        ),
        (
            lambda: option("generator/simulated", per_token_ms=float("nan")),
            r"generator.per_token_ms=nan must be 0 or more",
        ),
    ],
)
def test_bad_knobs_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_the_simulated_cost_is_affine() -> None:
    model = option("generator/simulated", base_ms=2, per_request_ms=3, per_token_ms=0.5, max_new_tokens=10)
    assert [model.cost_ms(batch) for batch in (1, 2, 8)] == [10, 13, 31]


def test_random_weights_answer_with_the_numbers_of_their_tokens(generator: Random) -> None:
    (answer,) = generator.generate(generator.prompts([("What?", "Nothing.")]))
    assert answer.text == " ".join(str(token) for token in answer.ids)
    assert answer.tokens == len(answer.ids) > 0


@pytest.mark.parametrize(
    ("file", "content"), [("model.safetensors", b"cut"), ("tokenizer.json", b"[]"), ("config.json", b"[]")]
)
def test_a_damaged_file_of_a_model_is_one_line(
    tmp_path: Path, generator: Random, file: str, content: bytes
) -> None:
    saving.network(generator._network, tmp_path)
    saving.vocabulary(tmp_path, 1024)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=r"^generator.model=/.* cannot be loaded: [^\n]*$"):
        option("generator/model", model=str(tmp_path), max_new_tokens=8).load("cpu", 0)
