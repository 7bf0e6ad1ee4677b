"""llama.cpp's server as a process of ours: what it is started with, what it is asked, and what its end means."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llama_server_double
import made_gguf
import pytest
import torch
from sections import made

from mlsys.errors import UserError
from mlsys.rag.generator import Wanted
from mlsys.rag.generator.llama_cpp import LlamaCpp
from mlsys.rag.generator.stepping import Sampling
from mlsys.rag.upstream import UpstreamError
from mlsys.rag.upstream.local import LocalServer

Make = Callable[..., LlamaCpp]
ASKED = [("Be brief.", "Is it so?")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("llama")
    made_gguf.made(place)
    llama_server_double.program(place)
    return place


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    generators: list[LlamaCpp] = []

    def make(**knobs: Any) -> LlamaCpp:
        files = {"binary": str(folder / "llama-server"), "model": str(folder / "small.gguf")}
        generators.append(made("generator/llama_cpp", **{**files, "check_interval_s": 0.05, **knobs}))
        return generators[-1]

    yield make
    for generator in generators:
        generator.upstream.close()


def server(generator: LlamaCpp) -> LocalServer:
    assert isinstance(generator.upstream, LocalServer)
    return generator.upstream


def pid(generator: LlamaCpp) -> int:
    process = server(generator).process
    assert process is not None
    return process.pid


def test_it_is_started_with_our_budget_asked_in_ids_and_gone_afterwards(make: Make) -> None:
    generator = make(slots=3, max_new_tokens=7, max_prompt_tokens=100, arguments=["--metrics"])
    generator.allow(9)
    generator.load("cpu", 0)
    prompts = generator.prompts([*ASKED, "Once upon"])
    drawn = Wanted(4, False, Sampling(0.7, 0.9, 5), ("\n",))
    answers = generator.generate(prompts, [Wanted(), drawn])
    assert [(one.text, one.tokens, one.finish) for one in answers] == [
        ("Yes, indeed", 7, "length"),
        ("Yes, indeed", 4, "length"),
    ]
    assert [one.prompt_tokens for one in answers] == [len(prompt.ids) for prompt in prompts]
    with urllib.request.urlopen(f"{generator.upstream.base}/asked", timeout=30) as response:
        told = json.load(response)
    words = told["words"]
    expected = {"-np": "3", "-c": "327", "-ngl": "0", "--alias": "small", "-t": str(torch.get_num_threads())}
    assert {name: words[words.index(name) + 1] for name in expected} == expected
    assert words[-1] == "--metrics"
    bodies = sorted(told["bodies"], key=lambda body: -len(body["prompt"]))
    assert [body["prompt"] for body in bodies] == [prompt.ids for prompt in prompts]
    assert bodies[0]["ignore_eos"] is True
    assert "ignore_eos" not in bodies[1]
    assert (bodies[1]["top_k"], bodies[1]["min_p"], bodies[1]["stop"]) == (0, 0.0, ["\n"])
    there, log = pid(generator), server(generator).process.log  # type: ignore[union-attr]
    generator.upstream.close()
    assert not log.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(there, 0)


def test_the_record_says_engine_version_weights_and_threads(make: Make) -> None:
    generator = make()
    generator.load("cpu", 0)
    described = generator.describe()
    assert described["engine"] == "llama.cpp"
    assert described["engine_version"] == "b4321-double"
    assert described["weights"] == "Q4_1, F32"
    assert described["threads"] == torch.get_num_threads()
    assert generator.chat.ends == generator.ends


def test_one_that_ends_at_the_start_is_one_line_with_its_own_last_words(make: Make) -> None:
    generator = make(arguments=["--says", "error: unknown model architecture: 'x'"])
    began = time.monotonic()
    with pytest.raises(UserError, match=r"ended with 1: unknown model architecture: 'x' \(its output: /"):
        generator.load("cpu", 0)
    assert time.monotonic() - began < 100  # start_timeout_s was not waited for


def test_one_that_is_killed_is_missed_and_its_requests_fail_in_words(make: Make) -> None:
    generator = make()
    generator.load("cpu", 0)
    os.kill(pid(generator), signal.SIGKILL)
    until = time.monotonic() + 60
    while generator.upstream.health.trouble is None and time.monotonic() < until:
        time.sleep(0.01)
    assert "was ended by SIGKILL" in str(generator.upstream.health.trouble)
    (answer,) = generator.generate(generator.prompts(ASKED))
    assert isinstance(answer.failure, UpstreamError)
    assert answer.failure.status == 502
    assert "llama-server at 127.0.0.1:" in str(answer.failure)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"binary": "no-such-llama"}, r"generator\.binary=no-such-llama is no program here"),
        ({"slots": 0}, "generator.slots=0 must be at least 1"),
        ({"max_new_tokens": 0}, "generator.max_new_tokens=0 must be at least 1"),
    ],
)
def test_a_knob_that_makes_no_sense_is_one_line(make: Make, knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make(**knobs)


def test_a_model_that_is_no_gguf_file_is_one_line(make: Make) -> None:
    with pytest.raises(
        UserError, match=r"generator\.model=/no/such\.gguf is no GGUF file: give one, or smollm2"
    ):
        make(model="/no/such.gguf").load("cpu", 0)
