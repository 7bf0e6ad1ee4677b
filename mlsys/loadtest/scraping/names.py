"""What engines call the same thing on `/metrics`, with an underscore for a colon and without `_total` at the end.

Versions differ in both. Each entry lists, engine after engine, what is added up; the first of which all are there is
taken. Times are histograms of seconds, sizes plain histograms, both by their `_sum` and `_count`.
Sources: vLLM `v1/metrics/loggers.py`, SGLang `metrics_collector.py`, text-embeddings-inference and
text-generation-inference `router/src`, llama.cpp `tools/server`.
"""

from __future__ import annotations

SYSTEMS = {
    "vllm_": "vllm",
    "sglang_": "sglang",
    "te_": "text-embeddings-inference",
    "tgi_": "text-generation-inference",
    "llamacpp_": "llama.cpp",
    "mlsys_": "mlsys",
}

COUNTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "requests": (
        ("vllm_request_success",),
        ("sglang_num_requests",),
        ("te_request_success",),
        ("tgi_request_success",),
        ("mlsys_requests",),
    ),
    "prompt_tokens": (
        ("vllm_prompt_tokens",),
        ("sglang_prompt_tokens",),
        ("tgi_request_input_length_sum",),
        ("llamacpp_prompt_tokens", "llamacpp_prompt_tokens_cached"),
        ("mlsys_prompt_tokens", "mlsys_prefix_cache_hits"),
    ),
    "output_tokens": (
        ("vllm_generation_tokens",),
        ("sglang_generation_tokens",),
        ("tgi_request_generated_tokens_sum",),
        ("llamacpp_tokens_predicted",),
        ("mlsys_generation_tokens",),
    ),
    "prompt_tokens_cached": (
        ("vllm_prefix_cache_hits",),
        ("sglang_cached_tokens",),
        ("llamacpp_prompt_tokens_cached",),
        ("mlsys_prefix_cache_hits",),
    ),
    "preemptions": (
        ("vllm_num_preemptions",),
        ("sglang_num_retracted_requests",),
        ("mlsys_num_preemptions",),
    ),
    "decode_s": (
        ("vllm_request_decode_time_seconds_sum",),
        ("llamacpp_tokens_predicted_seconds",),
    ),
    "prefill_s": (
        ("vllm_request_prefill_time_seconds_sum",),
        ("llamacpp_prompt_seconds",),
    ),
    "steps": (("llamacpp_n_decode",), ("mlsys_step_duration_seconds_count",)),
}

TIMES: dict[str, tuple[str, ...]] = {
    "e2e_ms": (
        "vllm_e2e_request_latency_seconds",
        "sglang_e2e_request_latency_seconds",
        "te_request_duration",
        "tgi_request_duration",
        "mlsys_request_duration_seconds",
    ),
    "ttft_ms": (
        "vllm_time_to_first_token_seconds",
        "sglang_time_to_first_token_seconds",
        "mlsys_time_to_first_token_seconds",
    ),
    "itl_ms": (
        "vllm_inter_token_latency_seconds",
        "vllm_time_per_output_token_seconds",
        "sglang_inter_token_latency_seconds",
        "sglang_time_per_output_token_seconds",
    ),
    "tpot_ms": (
        "vllm_request_time_per_output_token_seconds",
        "tgi_request_mean_time_per_token_duration",
        "mlsys_time_per_output_token_seconds",
    ),
    "queue_ms": (
        "vllm_request_queue_time_seconds",
        "sglang_queue_time_seconds",
        "te_request_queue_duration",
        "tgi_request_queue_duration",
    ),
    "inference_ms": (
        "vllm_request_inference_time_seconds",
        "te_request_inference_duration",
        "tgi_request_inference_duration",
    ),
    "step_ms": ("mlsys_step_duration_seconds",),
}

SIZES: dict[str, tuple[str, ...]] = {
    "batch_size": ("te_batch_next_size", "mlsys_batch_size"),
    "batch_tokens": ("te_batch_next_tokens", "vllm_iteration_tokens_total", "mlsys_iteration_tokens_total"),
}

# What is only true at a moment: read while the load runs. Of several engines behind one address it is added up ...
MOMENTS: dict[str, tuple[str, ...]] = {
    "running": (
        "vllm_num_requests_running",
        "sglang_num_running_reqs",
        "tgi_batch_current_size",
        "llamacpp_requests_processing",
        "mlsys_num_requests_running",
    ),
    "waiting": (
        "vllm_num_requests_waiting",
        "sglang_num_queue_reqs",
        "te_queue_size",
        "tgi_queue_size",
        "llamacpp_requests_deferred",
        "mlsys_num_requests_waiting",
    ),
}
# ... and shares are their mean.
SHARES: dict[str, tuple[str, ...]] = {
    "kv_usage": (
        "vllm_kv_cache_usage_perc",
        "vllm_gpu_cache_usage_perc",
        "sglang_token_usage",
        "llamacpp_kv_cache_usage_ratio",
        "mlsys_kv_cache_usage_perc",
    ),
}
