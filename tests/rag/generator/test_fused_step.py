"""A step by the fused kernels, against the same model in float64."""

from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from networks import NEW, network, prompts, written

from mlsys.distance.language import side_by_side, tl
from mlsys.rag.generator import fused_kernels, fused_step
from mlsys.rag.generator.decoding import Decoder, forward
from mlsys.rag.generator.fused_model import parts, parts_for, why_plain
from mlsys.rag.generator.fused_step import FusedStep, Wanted
from mlsys.rag.generator.graphs import GraphDecoder
from mlsys.rag.generator.static_step import Common, StaticStep, _defined
from mlsys.rag.generator.step_layout import Piece

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOKENS = 40
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


class Defined:
    """Attention of rows to their slots as `Tiles` defines it."""

    def __init__(self, kept: torch.Tensor, slots: torch.Tensor, positions: torch.Tensor) -> None:
        self._kept, self._places = kept, (slots, positions)

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        return _defined(self._kept[layer], *self._places, (q, k, v), scale)


def cache(model: Any, slots: int) -> torch.Tensor:
    random, config = torch.Generator().manual_seed(3), model.config
    dim = model.model.layers[0].self_attn.head_dim
    shape = (config.num_hidden_layers, 2, slots, config.num_key_value_heads, TOKENS, dim)
    return torch.randn(shape, generator=random).to(DEVICE, model.dtype)


class Both:
    """A model's step of `rows`, of which the last is none, by the kernels and by its definition in float64."""

    def __init__(self, model: Any, rows: int, monkeypatch: pytest.MonkeyPatch, splits: int) -> None:
        monkeypatch.setattr(fused_step, "splits", lambda *_: splits)
        monkeypatch.setattr(
            fused_step, "PROCESSORS", 2
        )  # few and large tiles: an interpreter's time is by program
        self._exact = deepcopy(model).double()
        self.slots = torch.arange(rows, device=DEVICE).flip(0) + (rows > 1)
        self.positions = torch.tensor([33, 0, 7, 31, 38], device=DEVICE)[:rows].clone()
        self.kept, latest = cache(model, rows), torch.arange(5, 6 + rows, device=DEVICE)
        self.exact_kept, self.latest = self.kept.double(), latest
        self.found = torch.zeros(rows, dtype=torch.long, device=DEVICE)
        self.logits = torch.zeros((rows, model.config.vocab_size), dtype=model.dtype, device=DEVICE)
        each = torch.arange(rows, device=DEVICE)
        wanted = Wanted(
            latest,
            self.slots,
            self.slots,
            self.positions,
            each,
            self.slots,
            latest,
            self.found,
            self.logits,
            rows,
        )
        self._step = FusedStep(parts(model, TOKENS), list(self.kept), wanted)

    @torch.inference_mode()
    def run(self) -> torch.Tensor:
        """Logits of the definition, for the tokens that the kernels take as well."""
        ids = self.latest[self.slots].clone()
        plan: Any = Defined(self.exact_kept, self.slots, self.positions)
        exact = forward(self._exact, ids, self.positions, plan, 0)
        self._step.run()
        return exact


@pytest.mark.parametrize(
    ("family", "rows", "splits"),
    [("qwen3", 1, 4), ("llama", 5, 1), ("mistral", 3, 2), ("llama", 1, 2), ("qwen2", 1, 1), ("qwen3", 3, 1)],
)
def test_a_step_gives_what_the_model_defines(
    family: str, rows: int, splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Both(network(family).to(DEVICE), rows, monkeypatch, splits)
    exact, real = both.run(), both.slots < rows
    torch.testing.assert_close(both.logits[real].double(), exact[real], rtol=1e-4, atol=1e-4)
    assert both.found[real].tolist() == exact[real].argmax(-1).tolist()
    assert both.latest[both.slots].tolist() == both.found.tolist()
    torch.testing.assert_close(both.kept.double(), both.exact_kept, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [80, 144])
def test_a_step_that_also_reads_prompts_gives_what_torchs_does(
    tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_step, "PROCESSORS", 2)
    model: Any = network("llama").to(DEVICE)
    kept = cache(model, 4)
    commons = [
        Common(model, kept.clone(), torch.arange(9, 14, device=DEVICE), known)
        for known in (None, parts(model, TOKENS))
    ]
    pieces = [Piece(1, 0, list(range(40, 58)), True), Piece(3, 30, [8, 9, 7], False), Piece(2, 5, [3], True)]
    with torch.inference_mode():
        steps = [StaticStep(common, 2, tokens) for common in commons]
        rows = [step.run([0], [38], pieces) for step in steps]
    assert rows[0] == rows[1] == {0: 0, 1: 2, 2: 3}
    for row in rows[0].values():
        torch.testing.assert_close(steps[1].logits[row], steps[0].logits[row], rtol=1e-4, atol=1e-4)
        assert steps[1].found[row] == steps[0].found[row]
    torch.testing.assert_close(commons[1].kept, commons[0].kept, rtol=1e-4, atol=1e-4)
    assert commons[0].latest[:4].tolist() == commons[1].latest[:4].tolist()


def test_a_step_that_is_only_compiled_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_step, "PROCESSORS", 2)
    model: Any = network("llama").to(DEVICE)
    kept, latest = cache(model, 3), torch.arange(9, 13, device=DEVICE)
    before = kept.clone()
    step = StaticStep(Common(model, kept, latest, parts(model, TOKENS)), 2, 16)
    with torch.inference_mode(), side_by_side(2):
        step.compile()
    assert torch.equal(kept, before)
    assert latest.tolist() == [9, 10, 11, 12]
    with torch.inference_mode():
        assert step.run([0], [3], [Piece(1, 0, [5, 6], True)]) == {0: 0, 1: 2}
    assert not torch.equal(kept, before)


@pytest.mark.skipif(DEVICE == "cuda", reason="is interpreted")
def test_a_kernel_that_is_launched_early_waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for name in ("gdc_launch_dependents", "gdc_wait"):
        monkeypatch.setattr(tl.extra.cuda, name, partial(called.append, name))
    tops, places = torch.tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]), torch.tensor([[7, 8, 9], [4, 5, 6]])
    found, latest = torch.zeros(2, dtype=torch.long), torch.zeros(3, dtype=torch.long)
    fused_kernels.argmax[(2,)](tops, places, found, latest, torch.tensor([2, 0]), 3, BLOCKS=4, EARLY=True)
    assert called == ["gdc_launch_dependents", "gdc_wait"] * 2
    assert (found.tolist(), latest.tolist()) == ([8, 4], [4, 0, 8])


def test_weights_are_laid_out_together_once_and_stay_the_models_own() -> None:
    model: Any = network("qwen2")
    before = deepcopy(model)
    first, second = parts(model, 8), parts(model, 8)
    for one, other, layer in zip(first.layers, second.layers, model.model.layers, strict=True):
        assert one.heads.data_ptr() == other.heads.data_ptr() == layer.self_attn.q_proj.weight.data_ptr()
        assert one.gate.data_ptr() == other.gate.data_ptr() == layer.mlp.gate_proj.weight.data_ptr()
        assert one.heads.shape == other.heads.shape == (6 * 16, 64)
    for own, copied in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(own, copied)


def test_what_the_kernels_do_not_know_is_named() -> None:
    assert why_plain(network("opt")) == "opt models"
    llama: Any = network("llama")
    assert why_plain(llama) is None
    assert why_plain(llama.to(torch.float16)) == "float16"
    llama.to(torch.bfloat16).model.layers[0].self_attn.head_dim = 24
    assert why_plain(llama) == "heads of 24 numbers"
    llama.model.rotary_emb.rope_type = "dynamic"
    assert why_plain(llama) == "rope_type dynamic"


@pytest.mark.skipif(DEVICE == "cuda", reason="is about a CPU")
def test_a_cpu_keeps_torchs_kernels() -> None:
    assert parts_for(network("llama"), 8) == (None, "torch: not on a GPU")


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_whole_answers_on_a_gpu_are_those_of_torchs_kernels(family: str) -> None:
    expected = written(Decoder(network(family), frozenset()), prompts(5, 40, 1, 17, 17), NEW, True)
    decoder = GraphDecoder(network(family).to("cuda"), frozenset(), 200, NEW)
    assert decoder.decode_kernels.startswith("fused, up to ")
    assert written(decoder, prompts(5, 40, 1, 17, 17), NEW, True) == expected
    assert [written(decoder, [one], NEW, True)[0] for one in prompts(5, 40, 1, 17, 17)] == expected


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_bfloat16_is_off_by_its_rounding_only(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both(network("llama").to("cuda", torch.bfloat16), rows, monkeypatch, 2)
    exact = both.run()
    real = both.slots < max(rows, 1)
    error = (both.logits[real].double() - exact[real]).abs().max() / exact[real].abs().max()
    assert error < 0.03
