"""openvino-genai's engine as a generator: what it is given, when answers end, and that one alone fails. On a double."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import made_gguf
import openvino_double
import pytest
import torch
from openvino_double import Engine
from sections import composed, made
from serving_doubles import served

from mlsys import extras, signatures
from mlsys.errors import UserError
from mlsys.rag.generator import Wanted
from mlsys.rag.generator.openvino import OpenVINO
from mlsys.rag.generator.stepping import Sampling
from mlsys.serving import parts
from mlsys.serving.continuous.pass_through import PassThrough

ASKED = [("Be brief.", "Is it so?"), ("Be brief.", "And this, is it so as well?")]
TEXT = " Yes, indeed. It is. "
Start = Callable[..., tuple[OpenVINO, Engine]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_gguf.made(tmp_path_factory.mktemp("openvino"))


@pytest.fixture
def start(model: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    def start(text: str = TEXT, **knobs: Any) -> tuple[OpenVINO, Engine]:
        engine = openvino_double.install(monkeypatch, [])
        generator: OpenVINO = made("generator/openvino", **{"model": str(model), "weights": "file", **knobs})
        generator.load("cpu", 0)
        words, more = (prompt.ids for prompt in generator.prompts([text, "and on"]))
        engine.script = [*words, min(generator.ends), *more]
        return generator, engine

    return start


def test_a_batch_is_written_together_and_ends_at_the_end_token(start: Start) -> None:
    generator, engine = start(fixed_length=False, max_new_tokens=40)
    prompts = generator.prompts(ASKED)
    answers = generator.generate(prompts)
    written = len(TEXT) + 1
    assert [(one.text, one.tokens, one.finish) for one in answers] == [(TEXT.strip(), written, "stop")] * 2
    assert engine.prompts == [prompt.ids for prompt in prompts]
    assert [one.prompt_tokens for one in answers] == [prompt.tokens for prompt in prompts]
    assert set(engine.steps) == {2}


def test_answers_of_a_fixed_length_go_on_and_their_text_ends_where_ours_would(start: Start) -> None:
    generator, _ = start(max_new_tokens=len(TEXT) + 3)
    (whole,) = generator.generate(generator.prompts(ASKED[:1]))
    assert (whole.text, whole.tokens, whole.finish) == (TEXT.strip(), len(TEXT) + 3, "length")
    (short,) = generator.generate(generator.prompts(ASKED[:1]), [Wanted(max_tokens=5)])
    assert (short.text, short.tokens) == ("Yes,", 5)


def test_what_is_asked_for_is_what_the_engine_gets(start: Start) -> None:
    generator, engine = start(dtype="bfloat16", kv_dtype="float16", slots=5, step_tokens=99)
    generator.generate(generator.prompts(ASKED), [Wanted(4), Wanted(4, False, Sampling(0.7, 0.9, 5))])
    greedy, drawn = engine.configs
    assert (greedy.max_new_tokens, greedy.ignore_eos, greedy.do_sample) == (4, True, False)
    assert (drawn.ignore_eos, drawn.do_sample, drawn.temperature) == (False, True, 0.7)
    assert (drawn.top_p, drawn.rng_seed, drawn.stop_token_ids) == (0.9, 5, set(generator.ends))
    asked = engine.made_with
    assert (asked.scheduler.max_num_seqs, asked.scheduler.max_num_batched_tokens) == (5, 99)
    assert asked.how["INFERENCE_PRECISION_HINT"] == "bf16"
    assert asked.how["KV_CACHE_PRECISION"] == "f16"
    assert asked.how["INFERENCE_NUM_THREADS"] == torch.get_num_threads()


def test_the_record_says_engine_version_weights_and_threads(start: Start) -> None:
    described = start()[0].describe()
    assert (described["engine"], described["engine_version"]) == ("openvino-genai", "2026.4.1")
    assert (described["weights"], described["dtype"], described["kv_dtype"]) == (
        "Q4_1, F32",
        "float32",
        "float32",
    )
    assert described["threads"] == torch.get_num_threads()


def test_text_is_told_as_it_comes_and_never_a_part_of_a_stop(start: Start) -> None:
    generator, engine = start()
    told: list[str] = []
    wanted = Wanted(stop=["deed.", "It"], max_tokens=len(TEXT))
    answer = generator.begin(generator.prompts(ASKED[:1])[0], wanted, tell=told.append).result(60)
    assert (answer.text, answer.finish, answer.tokens) == ("Yes, in", "stop", len(" Yes, indeed."))
    assert "".join(told) == "Yes, in"
    assert len(told) > 3
    assert engine.handles[0].cancelled


def test_who_is_not_waited_for_leaves_the_engine(start: Start) -> None:
    generator, engine = start()
    engine.gate.clear()
    gone, stays = generator.prompts(ASKED)
    begun = threading.Event()
    future = generator.begin(gone, Wanted(), begun.set)
    other = generator.begin(stays, Wanted(max_tokens=3))
    assert begun.wait(60)
    assert future.cancel()
    engine.gate.set()
    assert other.result(60).tokens == 3
    assert [handle.cancelled for handle in engine.handles] == [True, True]
    assert engine.handles[0].status == openvino_double.RUNNING
    engine.gate.clear()
    given_up = generator.generate([gone], [Wanted(unwanted=lambda: True)])
    engine.gate.set()
    assert isinstance(given_up[0].failure, CancelledError)


def test_a_prompt_that_is_refused_fails_alone_and_a_step_that_breaks_fails_those_in_it(start: Start) -> None:
    generator, engine = start()
    engine.refuses = RuntimeError("too long")
    prompts = generator.prompts(ASKED)
    first, second = generator.generate(prompts, [Wanted(2)] * 2)
    assert (str(first.failure), second.tokens) == ("too long", 2)
    engine.broken = RuntimeError("no memory")
    assert {str(one.failure) for one in generator.generate(prompts, [Wanted(2)] * 2)} == {"no memory"}
    assert [one.tokens for one in generator.generate(prompts, [Wanted(2)] * 2)] == [2, 2]


def test_a_prompt_without_memory_is_told_so(start: Start) -> None:
    generator, engine = start()
    engine.script = []
    (answer,) = generator.generate(generator.prompts(ASKED[:1]))
    assert isinstance(answer.failure, UserError)
    assert "the engine has no memory for it" in str(answer.failure)


def test_its_thread_ends_with_it(start: Start) -> None:
    generator, _ = start()
    thread = generator._engine._thread
    assert thread.is_alive()
    del generator
    gc.collect()
    until = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    assert not thread.is_alive()


@pytest.mark.parametrize("mode", ["baseline", "queue", "batch", "continuous"])
async def test_every_mode_serves_it(mode: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = openvino_double.install(monkeypatch, list(b"abcdefgh"))
    config = composed(
        f"server={mode}", "corpus=animals", "embedder=hashing", "generator=openvino", "device=cpu",
        generator={"model": str(model), "weights": "file", "max_new_tokens": 5},
    )  # fmt: skip
    options = signatures.make("server", config["server"])
    service = options.service(parts.of(config, Path()))
    import aiohttp

    async with served(service, options) as (url, _), aiohttp.ClientSession() as session:

        async def ask() -> dict[str, Any]:
            async with session.post(f"{url}/rag", json={"query": "What does a cat eat?"}) as response:
                assert response.status == 200
                found: dict[str, Any] = await response.json()
                return found

        def came() -> int:
            if isinstance(service, PassThrough):
                return service.generator.waiting + service.generator.in_flight
            return int(service.queued() + service.in_workers())

        together = mode in ("batch", "continuous")
        if together:  # no step ends before all are there
            engine.gate.clear()
        asked = [asyncio.ensure_future(ask()) for _ in range(4)]
        async with asyncio.timeout(60):
            while together and came() < 4:
                await asyncio.sleep(0.01)
        engine.gate.set()
        answers = await asyncio.gather(*asked)
    assert {answer["tokens"] for answer in answers} == {5}
    assert len({answer["result"] for answer in answers}) == 1
    assert {"prefill", "decode"} <= answers[0]["timings_ms"].keys() or mode != "continuous"
    assert (max(engine.steps) > 1) is together


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"weights": "int4"}, "generator.weights=int4 is none of float16, file"),
        ({"dtype": "int8"}, "generator.dtype=int8 is none of float32, bfloat16"),
        ({"kv_dtype": "int4"}, "generator.kv_dtype=int4 is none of float32, float16, bfloat16, int8"),
        ({"slots": 0}, "generator.slots=0 must be at least 1"),
    ],
)
def test_a_knob_that_makes_no_sense_is_one_line(start: Start, knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        start(**knobs)


def test_a_gpu_and_a_missing_package_are_one_line(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, _ = start()
    with pytest.raises(UserError, match="generator=openvino is for device=cpu"):
        generator.load("cuda", 0)
    with pytest.raises(UserError, match="generator=openvino has no steps here"):
        generator.stepper(None, None, 0.0, 1)
    monkeypatch.setattr(extras, "absent", lambda module: f"{module} is not installed")
    with pytest.raises(UserError, match="generator=openvino: openvino_genai is not installed"):
        made("generator/openvino")
