"""`generator.compile=true`: every shape is fixed beforehand and its kernels are launched as one CUDA graph.

A small model's step on a large GPU is spent launching kernels. Batches and prompts are padded to a few sizes;
for each of them reading the prompts is one graph and writing one token is another, which advances its own
position, so that a whole answer is replayed without the CPU looking at it. On a CPU the same steps run
without graphs (tests).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mlsys.rag.generator.attention import Slots
from mlsys.rag.generator.bucket import MASK_STEP, Bucket
from mlsys.rag.generator.fused_model import parts_for
from mlsys.rag.generator.lengths import Lengths
from mlsys.rag.generator.recorded import pool_on, prepare
from mlsys.rag.generator.stepping import Sampling

LENGTHS = (128, 192, 256, 384, 512, 768)
LENGTH_STEP = 64
PASS_TOKENS = 131_072  # rows times length of the largest prompts read at once
CHECK_STEPS = 8  # how often answers of free length are looked at


class GraphDecoder:
    """Greedy decoding over recorded shapes. `max_prompt`, `max_new`: tokens that must fit."""

    shared_tokens = 0

    def __init__(self, model: Any, ends: frozenset[int], max_prompt: int, max_new: int) -> None:
        self._model, self._ends, self._max_new = model, ends, max_new
        self._device = next(model.parameters()).device
        top = -(-max_prompt // LENGTH_STEP) * LENGTH_STEP
        self._parts, self.decode_kernels = parts_for(model, top + max_new + MASK_STEP)
        self.name = "CUDA graphs" if self._device.type == "cuda" else "static shapes, without graphs"
        self._lengths = [length for length in LENGTHS if length < top] + [top]
        self._rows = [1]
        self._slots, self._largest = Slots(), 0
        self._buckets: dict[tuple[int, int], Bucket] = {}
        self._pool = pool_on(self._device)
        if self._device.type == "cuda":
            _fuse_norms(model)

    @torch.inference_mode()
    def warm(self, max_batch: int) -> None:
        """Record every bucket for batches of up to `max_batch`, largest first: it sizes the memory of all."""
        self._rows = [1]
        while self._rows[-1] < max_batch:
            self._rows.append(min(self._rows[-1] * 2, max_batch))
        pairs = [(r, n) for r in self._rows for n in self._lengths if r == 1 or r * n <= PASS_TOKENS]
        pairs.sort(key=lambda pair: -pair[0] * (pair[1] + self._max_new + MASK_STEP))
        buckets = [self._bucket(rows, length) for rows, length in pairs]
        prepare(buckets, self.name, self._pool, fused=self._parts is not None)

    def _bucket(self, rows: int, length: int) -> Bucket:
        if (rows, length) not in self._buckets:
            size = rows * (length + self._max_new + MASK_STEP)
            if size > self._largest:  # the slots' memory will move: what was recorded points to the old
                self._buckets.clear()
                self._largest = size
            bucket = Bucket(self._model, self._parts, self._slots, rows, length, self._max_new, self._pool)
            self._buckets[rows, length] = bucket
        return self._buckets[rows, length]

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        fixed: Sequence[bool],
        sampling: Sequence[Sampling] = (),
    ) -> list[list[int]]:
        """New ids of each prompt, each to its own limit; limits are at most `max_new`."""
        length = self._lengths[bisect_left(self._lengths, max(len(prompt) for prompt in prompts))]
        most = max(r for r in self._rows if r == 1 or r * length <= PASS_TOKENS)
        found: list[list[int]] = []
        for start in range(0, len(prompts), most):
            part = slice(start, start + most)
            rows = self._rows[bisect_left(self._rows, len(prompts[part]))]
            answers = Lengths(limits[part], fixed[part], self._ends)
            found += self._run(self._bucket(rows, length), prompts[part], length, answers, sampling[part])
        return found

    def _run(
        self,
        bucket: Bucket,
        prompts: Sequence[Sequence[int]],
        length: int,
        answers: Lengths,
        sampling: Sequence[Sampling],
    ) -> list[list[int]]:
        read, write = bucket.record()
        bucket.use()
        rows = len(bucket.last)
        filled = [*prompts, *[prompts[0]] * (rows - len(prompts))]
        ids = torch.tensor([list(prompt) + [0] * (length - len(prompt)) for prompt in filled])
        ends = torch.tensor([[len(prompt)] for prompt in filled])
        bucket.ids.copy_(ids.flatten())
        bucket.ends.copy_(ends)
        bucket.last.copy_(torch.arange(rows) * length + ends[:, 0] - 1)
        steps, work = 0, read
        while steps < answers.longest:
            work()
            if sampling:
                bucket.draw(steps, sampling, [len(prompt) + steps for prompt in prompts])
            steps, work = steps + 1, write
            newest = bucket.out[: len(prompts), steps - CHECK_STEPS : steps]
            if steps % CHECK_STEPS == 0 and answers.all_ended(steps, newest):
                break
        return answers.cut(bucket.out[: len(prompts), :steps].tolist())


def _fuse_norms(model: Any) -> None:
    """RMS norms as one kernel instead of seven, the same formula (Zhang and Sennrich, 2019)."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = _fused(module.weight, module.variance_epsilon)


def _fused(weight: torch.Tensor, epsilon: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda hidden: torch.nn.functional.rms_norm(hidden, weight.shape, weight, epsilon)
