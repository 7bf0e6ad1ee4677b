"""The real engine at token level: no schedule changes a token."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import saving
import schedules
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SHAPES, network, prompts
from sections import made as option
from transformers import AutoModelForCausalLM, GPT2Config

from mlsys.errors import UserError
from mlsys.rag.generator.decoding import Decoder
from mlsys.rag.generator.kv_cache import heads
from mlsys.rag.generator.kv_memory import Sizes
from mlsys.rag.generator.slot_stepper import SlotStepper
from mlsys.rag.generator.static_stepper import StaticStepper
from mlsys.rag.generator.stepping import GREEDY, Read, Sampling, Step

LENGTHS = (5, 30, 1, 17)
LIMITS = (5, 2, 6, 1)
HOWS = [GREEDY, Sampling(1.0, 0.9, 3), Sampling(2.0, 1.0, 5), GREEDY]
SIZES = Sizes(slots=3, slot_tokens=96, blocks=6, block_tokens=8, token_bytes=1)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """One thread attends in compiled code, several by torch's."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def stepper(family: str, sizes: Sizes = SIZES, kind: type[SlotStepper] = SlotStepper) -> SlotStepper:
    model = network(family)
    return kind(model, sizes, heads(model))


@cache
def expected(family: str) -> list[list[int]]:
    return Decoder(network(family), frozenset()).generate(prompts(*LENGTHS), LIMITS, [True] * 4, HOWS)


@pytest.mark.parametrize("family", SHAPES)
def test_steps_write_what_whole_batches_do(family: str, threads: int) -> None:
    assert schedules.answers(stepper(family), prompts(*LENGTHS), LIMITS, HOWS) == expected(family)


@pytest.mark.parametrize("family", SHAPES)
def test_fixed_shapes_write_the_same(family: str) -> None:
    made = stepper(family, kind=StaticStepper)
    assert schedules.answers(made, prompts(*LENGTHS), LIMITS, HOWS) == expected(family)


def test_a_step_that_is_recorded_when_it_is_first_needed_is_done_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_first(work: Callable[[], None], pool: object) -> Callable[[], None]:
        work()  # as a CUDA graph is recorded
        return work

    monkeypatch.setattr("mlsys.rag.generator.static_step.recorded", run_first)
    made = stepper("llama", kind=StaticStepper)
    assert schedules.answers(made, prompts(*LENGTHS), LIMITS, HOWS) == expected("llama")


@pytest.mark.parametrize("kind", [SlotStepper, StaticStepper])
@given(family=st.sampled_from(sorted(SHAPES)), seed=st.integers(0, 10**6), slots=st.integers(1, 4))
@settings(max_examples=5)
def test_no_schedule_changes_a_token(kind: type[SlotStepper], family: str, seed: int, slots: int) -> None:
    """Chunks, blocks that are shared, sequences that are put off, mates that come and go."""
    made = stepper(family, replace(SIZES, slots=slots), kind)
    assert schedules.answers(made, prompts(*LENGTHS), LIMITS, HOWS, random.Random(seed).randint) == expected(
        family
    )


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [SlotStepper, StaticStepper])
@pytest.mark.parametrize("family", SHAPES)
def test_no_schedule_changes_a_token_on_a_gpu(kind: type[SlotStepper], family: str) -> None:
    model = network(family).to("cuda")
    made = kind(model, replace(SIZES, slots=3), heads(model))
    made.warm(80)
    for seed in range(10):
        found = schedules.answers(made, prompts(*LENGTHS), LIMITS, HOWS, random.Random(seed).randint)
        assert found == expected(family)


def test_long_steps_are_read_in_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsys.rag.generator.slot_stepper.PASS_TOKENS", 60)
    assert schedules.answers(stepper("llama"), prompts(*LENGTHS), LIMITS, HOWS) == expected("llama")


def test_without_a_compiled_loop_torch_attends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsys.rag.generator.mixed._loop", lambda: None)
    made = stepper("llama")
    assert made.describe()["attention"] == "masked, all slots"
    assert schedules.answers(made, prompts(*LENGTHS), LIMITS, HOWS) == expected("llama")


def test_a_slot_takes_no_more_than_it_has_room_for(threads: int) -> None:
    made = stepper("llama")
    with pytest.raises(ValueError, match="slot 1 has room for 96 tokens, not 97"):
        made.launch(Step((Read(1, [5] * 97, 0, True),)))


def test_few_sequences_in_many_slots_read_only_their_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    made = stepper("llama", replace(SIZES, slots=9))
    (prompt,) = prompts(17)
    found = [made.launch(Step((Read(slot, prompt, 0, True),))).tokens()[slot] for slot in (8, 0)]
    both = made.launch(Step(writes=(8,))).tokens() | made.launch(Step(writes=(0,))).tokens()
    torch.set_num_threads(before)
    assert found[0] == found[1]
    assert both[8] == both[0]


def test_half_precision_runs(threads: int) -> None:
    model = network("llama").to(torch.bfloat16)
    made = SlotStepper(model, SIZES, heads(model))
    found = schedules.answers(made, prompts(*LENGTHS), LIMITS)
    assert [len(row) for row in found] == list(LIMITS)


def test_what_a_generator_keeps_fits_into_the_memory_it_is_given() -> None:
    generator = option("generator/random", shape="tiny", max_new_tokens=8)
    generator.load("cpu", seed=3)
    token = 2 * 2 * 2 * 16 * 4
    memory = 5 * 64 * token
    made = generator.stepper(None, memory, 0.3, 50)
    assert (made.slots, made.slot_tokens, made.blocks) == (3, 64, 6)
    described = made.describe()
    assert described["kv_bytes"] == (3 * 64 + 6 * 16) * token <= memory
    assert described["kv_bytes"] == made._cache.slots.nbytes + made._cache.pool.nbytes
    made.warm(32)
    assert generator.stepper(7, None, 0.0, 50).slots == 7


def test_the_step_by_step_engine_knows_its_families(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=1024, n_embd=32, n_layer=1, n_head=2, n_positions=256, eos_token_id=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    saving.vocabulary(tmp_path, 1024)
    loaded = option("generator/model", model=str(tmp_path), max_new_tokens=4)
    loaded.load("cpu", 0)
    with pytest.raises(
        UserError, match=r"server=continuous does not know gpt2 models \(llama, .*server=batch"
    ):
        loaded.stepper(None, None, 0.5, 50)
