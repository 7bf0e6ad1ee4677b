from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.loadtest.scraping.exposition import Reading, course, difference, read
from mlsys.loadtest.scraping.names import SYSTEMS

VLLM = """# HELP vllm:request_success_total Count of successfully processed requests.
# TYPE vllm:request_success_total counter
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="m"}} {stop}
vllm:request_success_total{{engine="0",finished_reason="length",model_name="m"}} {length}
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="m"}} {running}
vllm:num_requests_running{{engine="1",model_name="m"}} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} 0.25
vllm:kv_cache_usage_perc{{engine="1",model_name="m"}} 0.75
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{{engine="0",le="0.3",model_name="m"}} 0.0
vllm:e2e_request_latency_seconds_bucket{{engine="0",le="+Inf",model_name="m"}} {count}
vllm:e2e_request_latency_seconds_count{{engine="0",model_name="m"}} {count}
vllm:e2e_request_latency_seconds_sum{{engine="0",model_name="m"}} {seconds}
"""
BEFORE = read(VLLM.format(stop=10.0, length=5.0, tokens=640.0, running=0.0, count=15.0, seconds=30.0))
AFTER = read(VLLM.format(stop=11.0, length=9.0, tokens=840.0, running=3.0, count=20.0, seconds=40.0))


def test_what_vllm_counted_between_two_readings() -> None:
    assert difference(BEFORE, AFTER) == {
        "counters.system": "vllm",
        "counters.requests": 5,
        "counters.output_tokens": 200,
        "counters.e2e_ms.mean": 2000.0,
    }


def test_what_is_true_at_a_moment_is_added_up_and_shares_are_a_mean() -> None:
    assert course([BEFORE, AFTER]) == {
        "counters.running.mean": 2.5,
        "counters.running.max": 4.0,
        "counters.kv_usage.mean": 0.5,
        "counters.kv_usage.max": 0.5,
    }


@pytest.mark.parametrize(
    ("system", "before", "after", "expected"),
    [
        (
            "sglang",
            'sglang:num_requests_total{is_streaming="true"} 2\nsglang:generation_tokens_total 10\n',
            'sglang:num_requests_total{is_streaming="true"} 5\nsglang:generation_tokens_total 40\n'
            "sglang:time_to_first_token_seconds_sum 0.5\nsglang:time_to_first_token_seconds_count 2\n",
            {"requests": 3, "output_tokens": 30, "ttft_ms.mean": 250.0},
        ),
        (
            "text-embeddings-inference",
            'te_request_success{method="single"} 1\n',
            '# TYPE te_request_success counter\nte_request_success{method="single"} 9\n'
            "# TYPE te_batch_next_size histogram\nte_batch_next_size_sum 8\nte_batch_next_size_count 2\n"
            "te_request_queue_duration_sum 0.004\nte_request_queue_duration_count 8\n",
            {"requests": 8, "batch_size.mean": 4.0, "queue_ms.mean": 0.5},
        ),
        (
            "llama.cpp",
            "llamacpp:prompt_tokens_total 31\nllamacpp:prompt_tokens_cached_total 0\n",
            "llamacpp:prompt_tokens_total 41\nllamacpp:prompt_tokens_cached_total 20\n"
            "llamacpp:tokens_predicted_total 7\nllamacpp:tokens_predicted_seconds_total 0.5\n",
            {"prompt_tokens": 30, "output_tokens": 7, "prompt_tokens_cached": 20, "decode_s": 0.5},
        ),
        (
            "mlsys",
            'mlsys_requests_total{code="200"} 3\nmlsys_requests_total{code="429"} 8\n',
            'mlsys_requests_total{code="200"} 4\nmlsys_requests_total{code="429"} 9\n',
            {"requests": 1},
        ),
    ],
)
def test_each_engine_has_its_own_words(
    system: str, before: str, after: str, expected: dict[str, float]
) -> None:
    found = difference(read(before), read(after))
    assert found.pop("counters.system") == system
    assert {name.removeprefix("counters."): value for name, value in found.items()} == expected


def test_a_name_without_its_unit_is_the_counter_that_prometheus_means() -> None:
    typed = '# TYPE te_request_success counter\nte_request_success{{method="single"}} {}\n'
    found = difference(read(typed.format(1)), read(typed.format(9)))
    assert found["counters.requests"] == 8


def test_newer_names_with_an_underscore_are_the_same() -> None:
    assert read("vllm_generation_tokens_total 3\n").values == read("vllm:generation_tokens_total 3\n").values


def test_what_fell_is_not_told() -> None:
    assert difference(AFTER, BEFORE) == {"counters.system": "vllm"}


@pytest.mark.parametrize("text", ["", "<html>", "python_gc_objects_collected_total 3\n", "vllm: {", "a{b"])
def test_what_nobody_knows_is_nothing(text: str) -> None:
    assert read(text) == Reading()


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=80)
    | st.builds(
        lambda prefix, name, value: f"{prefix}{name} {value}\n",
        st.sampled_from(sorted(SYSTEMS)),
        st.sampled_from(["requests_total", "request_success_total", 'x{code="200"}', "}{"]),
        st.floats().map(str) | st.text(max_size=4),
    )
)
def test_no_exposition_loses_a_level(text: str) -> None:
    found = difference(read(""), read(text)) | course([read(text)])
    assert all(not isinstance(value, float) or math.isfinite(value) for value in found.values())
    json.dumps(found, allow_nan=False)
