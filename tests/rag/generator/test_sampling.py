"""Drawing tokens: what decides a draw, and that all engines draw alike."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from networks import PREFIX, network, prompts

from mlsys.rag.generator.decoding import Decoder, Engine
from mlsys.rag.generator.graphs import GraphDecoder
from mlsys.rag.generator.plain import PlainDecoder
from mlsys.rag.generator.sampling import pick, uniform
from mlsys.rag.generator.stepping import GREEDY, Sampling

LOGITS = torch.tensor([[1.0, 3.0, 2.0, 0.0]])
ENGINES: dict[str, Callable[[], Engine]] = {
    "slots": lambda: Decoder(network("llama"), frozenset({2}), PREFIX),
    "static": lambda: GraphDecoder(network("llama"), frozenset({2}), 100, 16),
    "plain": lambda: PlainDecoder(network("llama", "sdpa"), frozenset({2}), 0),
}


def frequencies(sampling: Callable[[int], Sampling], draws: int = 4000) -> list[float]:
    seeds = range(draws)
    found = pick(LOGITS.expand(draws, -1), [sampling(seed) for seed in seeds], [7] * draws)
    counts = Counter(found.tolist())
    return [counts[token] / draws for token in range(4)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_come_as_often_as_the_temperature_says(temperature: float) -> None:
    expected = (LOGITS[0].double() / temperature).softmax(0).tolist()
    assert frequencies(lambda seed: Sampling(temperature, seed=seed)) == pytest.approx(expected, abs=0.03)


def test_top_p_keeps_the_likeliest_and_their_proportions() -> None:
    _one, three, two, _ = LOGITS[0].double().softmax(0).tolist()
    kept = three + two  # 0.64 and 0.24: 0.7 needs both
    assert frequencies(lambda seed: Sampling(1.0, 0.7, seed)) == pytest.approx(
        [0, three / kept, two / kept, 0], abs=0.03
    )
    assert frequencies(lambda seed: Sampling(1.0, 1e-9, seed), 50) == [0, 1, 0, 0]


def test_temperature_zero_and_nearly_zero_are_the_likeliest() -> None:
    tiny = Sampling(1e-300, seed=5)
    assert pick(LOGITS.expand(3, -1), [GREEDY, tiny, Sampling(1e-9)], [1, 2, 3]).tolist() == [1, 1, 1]


def test_numbers_are_spread_evenly_and_repeat_for_the_same_seed_and_place() -> None:
    drawn = torch.tensor([uniform(seed, place) for seed in range(50) for place in range(40)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = torch.histc(drawn, 10, 0, 1)
    assert counts.min() > 140
    assert counts.max() < 260
    assert len(set(drawn.tolist())) == 2000
    assert uniform(3, 4) == uniform(3, 4)


@pytest.mark.parametrize("made", ENGINES)
def test_batch_mates_change_no_draw_and_no_length(made: str) -> None:
    engine = ENGINES[made]()
    batch = prompts(5, 40, 1, 17)
    limits, fixed = [4, 12, 1, 9], [True, False, False, True]
    how = [Sampling(1.0, 1.0, 1), Sampling(0.7, 0.9, 2), GREEDY, Sampling(2.0, 0.5, 1)]
    together = engine.generate(batch, limits, fixed, how)
    alone = [
        engine.generate([prompt], [limit], [exact], [one])[0]
        for prompt, limit, exact, one in zip(batch, limits, fixed, how, strict=True)
    ]
    assert together == alone
    assert [len(row) for row, exact in zip(together, fixed, strict=True) if exact] == [4, 9]
    assert all(len(row) <= limit for row, limit in zip(together, limits, strict=True))
    assert together == ENGINES["slots"]().generate(batch, limits, fixed, how)
    assert together != engine.generate(batch, limits, fixed)
