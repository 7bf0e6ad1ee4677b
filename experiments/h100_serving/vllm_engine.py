"""vLLM's engine in an environment of its own: `python vllm_engine.py FOLDER`, asked by `vllm_peer.py` in JSON lines.

Each line of the input is {"prompts": [[id, ...], ...], "new": N}; each of the output how long it took and the ids.
"""

import json
import os
import sys
import time

SETTINGS = {
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in a process of its own it is slower, but for large batches
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print is no answer
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import vllm

    llm = vllm.LLM(
        model=sys.argv[1], dtype="bfloat16", skip_tokenizer_init=True, max_model_len=512, max_num_seqs=256,
        gpu_memory_utilization=0.4, enable_prefix_caching=False, disable_log_stats=True, seed=0,
    )  # fmt: skip
    print(json.dumps({"name": f"vLLM {vllm.__version__}"}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        how = vllm.SamplingParams(temperature=0.0, max_tokens=asked["new"], ignore_eos=True, detokenize=False)
        prompts = [{"prompt_token_ids": ids} for ids in asked["prompts"]]
        started = time.perf_counter()
        found = llm.generate(prompts, how, use_tqdm=False)
        seconds = time.perf_counter() - started
        ids = [list(one.outputs[0].token_ids) for one in found]
        print(json.dumps({"seconds": seconds, "ids": ids}), file=answers, flush=True)


if __name__ == "__main__":
    main()
