"""`generator.compile=true`: every shape is fixed beforehand and its kernels are launched as one CUDA graph.

A small model's step on a large GPU is spent launching kernels. Batches and prompts are padded to a few sizes;
for each of them reading the prompts is one graph and writing one token is another, which advances its own
position, so that a whole answer is replayed without the CPU looking at it. On a CPU the same steps run
without graphs (tests).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from mlsys.cuda_graph import GraphPool
from mlsys.rag.generator.attention import PaddedPrefill, Plan, Slots, StaticDecode, additive
from mlsys.rag.generator.decoding import forward
from mlsys.rag.generator.fused_model import Parts, parts_for
from mlsys.rag.generator.fused_step import FusedStep, Wanted
from mlsys.rag.generator.kv_cache import heads
from mlsys.rag.generator.lengths import Lengths
from mlsys.rag.generator.recorded import pool_on, prepare, recorded
from mlsys.rag.generator.sampling import draw_into
from mlsys.rag.generator.slot_kernels import TILE
from mlsys.rag.generator.stepping import Sampling

LENGTHS = (128, 192, 256, 384, 512, 768)
LENGTH_STEP = 64
PASS_TOKENS = 131_072  # rows times length of the largest prompts read at once
MASK_STEP = 16  # attention kernels want aligned masks
CHECK_STEPS = 8  # how often answers of free length are looked at


class Bucket:
    """The fixed tensors and the two steps of one batch size and prompt length."""

    def __init__(
        self,
        model: Any,
        parts: Parts | None,
        slots: Slots,
        rows: int,
        length: int,
        new: int,
        pool: GraphPool | None,
    ) -> None:
        self._model, self._slots, self._length, self._pool = model, slots, length, pool
        self.columns = -(-(length + new) // MASK_STEP) * MASK_STEP
        device = next(model.parameters()).device
        self.ids = torch.zeros(rows * length, dtype=torch.long, device=device)
        self.last = torch.zeros(rows, dtype=torch.long, device=device)
        self.ends = torch.zeros((rows, 1), dtype=torch.long, device=device)
        self.tokens, self.positions = torch.zeros_like(self.last), torch.zeros_like(self.last)
        self.seen = torch.zeros((rows, 1, 1, self.columns), dtype=model.dtype, device=device)
        self.column = torch.zeros(1, dtype=torch.long, device=device)
        self.out = torch.zeros((rows, new), dtype=torch.long, device=device)
        self.logits = torch.zeros((rows, model.config.vocab_size), dtype=model.dtype, device=device)
        self._each = torch.arange(length, device=device).repeat(rows)
        self._all = torch.arange(self.columns, device=device)[None]
        slots.resize(rows, self.columns)
        self._prefill = PaddedPrefill(slots, rows, length)
        self._decode = StaticDecode(slots, self.seen, self.column)
        self._steps: list[FusedStep] = []
        self._works: tuple[Callable[[], None], ...] = self._read, self._write
        if parts is not None and rows <= parts.most_rows:
            self._works = self._fused(parts, rows)
        self._recorded: tuple[Callable[[], None], ...] = ()

    def compile(self) -> None:
        """Make the fused kernels ready that it launches; nothing runs."""
        for step in self._steps:
            step.compile()

    def record(self) -> tuple[Callable[[], None], ...]:
        """Reading and writing as CUDA graphs, which are recorded once."""
        if not self._recorded:
            self.use()
            self._recorded = tuple(recorded(work, self._pool) for work in self._works)
        return self._recorded

    def _read(self) -> None:
        self.column.fill_(self._length)
        self.positions.copy_(self.ends[:, 0])
        self.seen.copy_(additive(self._all < self.ends, self.seen.dtype)[:, None, None])
        self._keep(self._forward(self.ids, self._each, self._prefill, self.last))

    def _write(self) -> None:
        self.seen.index_fill_(3, self.column, 0)
        logits = self._forward(self.tokens, self.positions, self._decode, 0)
        self.positions.add_(1)
        self.column.add_(1)
        self._keep(logits)

    def _fused(self, parts: Parts, rows: int) -> tuple[Callable[[], None], Callable[[], None]]:
        """Reading, where prompts are short, and writing by the fused kernels.

        They keep a new token right after its prompt, in what is a gap otherwise: there is no mask.
        """
        device, length = self.tokens.device, self._length
        each = torch.arange(rows, device=device)
        gives = each, self.tokens, self.tokens, self.logits
        starts = TILE * torch.arange(rows * length // TILE, device=device)
        tiles = starts // length, starts % length, torch.full_like(starts, TILE), starts
        which, slots = torch.arange(rows * length, device=device), each.repeat_interleave(length)
        self._reads = Wanted(self.ids, which, slots, self._each, self.last, *gives, 0, tiles)
        self._writes = Wanted(self.tokens, each, each, self.positions, each, *gives, rows)
        kept = self._slots.reserve(heads(self._model), device)
        self._steps = [FusedStep(parts, kept, self._writes)]
        write = partial(self._write_fused, self._steps[0])
        if rows * length > parts.most_rows:
            return self._read, write
        self._steps.append(FusedStep(parts, kept, self._reads))
        return partial(self._read_fused, self._steps[1]), write

    def _read_fused(self, step: FusedStep) -> None:
        self.column.fill_(self._length)
        self.positions.copy_(self.ends[:, 0])
        step.run()
        self._note()

    def _write_fused(self, step: FusedStep) -> None:
        step.run()
        self.positions.add_(1)
        self.column.add_(1)
        self._note()

    def _keep(self, logits: torch.Tensor) -> None:
        self.logits.copy_(logits)
        self.tokens.copy_(logits.argmax(-1))
        self._note()

    def _note(self) -> None:
        self.out.index_copy_(1, self.column - self._length, self.tokens[:, None])

    def draw(self, step: int, sampling: Sequence[Sampling], positions: Sequence[int]) -> None:
        """Replace the tokens of `step` that the first rows sample."""
        rows = len(sampling)
        draw_into(self.tokens[:rows], self.logits[:rows], sampling, positions)
        self.out[:rows, step] = self.tokens[:rows]

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, plan: Plan, keep: Any) -> torch.Tensor:
        return forward(self._model, ids, positions, plan, keep)

    def use(self) -> None:
        """Lay the slots out for this bucket: the same memory serves all of them."""
        self._slots.resize(len(self.last), self.columns)


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
