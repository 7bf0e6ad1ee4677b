"""Decoding with tiny random models: batches equal singles, and transformers' own, token for token."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from networks import NEW, PREFIX, SHAPES, network, prompts, written

from mlsys.rag.generator import attention
from mlsys.rag.generator.attention import Slots
from mlsys.rag.generator.decoding import Decoder
from mlsys.rag.generator.graphs import GraphDecoder
from mlsys.rag.generator.lengths import cut
from mlsys.rag.generator.plain import PlainDecoder


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=SHAPES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


LENGTHS = (5, 40, 1, 17, 17)


def test_a_batch_equals_its_prompts_alone(family: str) -> None:
    decoder = Decoder(network(family), frozenset({2}), PREFIX)
    together = written(decoder, prompts(*LENGTHS), NEW, True)
    assert together == [written(decoder, [prompt], NEW, True)[0] for prompt in prompts(*LENGTHS)]
    assert all(len(row) == NEW for row in together)
    assert len({tuple(row) for row in together}) > 1


@pytest.mark.parametrize("transformers", [False, True])
def test_shapes_that_vary_are_not_planned_by_cudnn(
    monkeypatch: pytest.MonkeyPatch, transformers: bool
) -> None:
    """A plan takes 70 ms, and every step has a new shape."""
    used: set[bool] = set()

    def spy(
        *args: torch.Tensor,
        real: Callable[..., torch.Tensor] = torch.nn.functional.scaled_dot_product_attention,
        **options: Any,
    ) -> torch.Tensor:
        used.add(torch.backends.cuda.cudnn_sdp_enabled())
        return real(*args, **options)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", spy)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    before = torch.backends.cuda.cudnn_sdp_enabled()
    if transformers:
        written(PlainDecoder(network("llama", "sdpa"), frozenset({2}), 0), prompts(5), 2, True)
    else:
        written(Decoder(network("llama"), frozenset({2})), prompts(5), 2, True)
    assert used == {False}
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_it_equals_transformers_generate(family: str) -> None:
    decoder = Decoder(network(family), frozenset({2}), PREFIX)
    plain = PlainDecoder(network(family, "sdpa"), frozenset({2}), 0)
    assert written(decoder, prompts(*LENGTHS), NEW, True) == written(plain, prompts(*LENGTHS), NEW, True)


def test_sharing_the_prefix_changes_no_token(family: str) -> None:
    with_prefix = Decoder(network(family), frozenset({2}), PREFIX)
    with_prefix.warm(4)
    without = Decoder(network(family), frozenset({2}))
    batch = prompts(*LENGTHS)
    assert written(with_prefix, batch, NEW, True) == written(without, batch, NEW, True)
    assert (with_prefix.shared_tokens, without.shared_tokens) == (len(PREFIX), 0)


def test_prompts_without_the_prefix_are_read_whole(family: str) -> None:
    decoder, without = Decoder(network(family), frozenset(), PREFIX), Decoder(network(family), frozenset())
    for batch in (prompts(6, 9, prefix=[99]), [PREFIX, *prompts(4)], prompts(5) + prompts(5, prefix=[])):
        assert written(decoder, batch, 4, True) == written(without, batch, 4, True)


def test_long_batches_are_read_in_passes(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(network(family), frozenset({2}), PREFIX)
    whole = written(decoder, prompts(*LENGTHS), 4, True)
    monkeypatch.setattr("mlsys.rag.generator.decoding.PASS_TOKENS", 20)
    assert written(decoder, prompts(*LENGTHS), 4, True) == whole


def test_slots_are_reused_without_traces_of_the_batch_before(family: str) -> None:
    decoder = Decoder(network(family), frozenset({2}), PREFIX)
    small = written(decoder, prompts(3), NEW, True)
    written(decoder, prompts(60, 50, 40, 30, 20, 10), NEW, True)
    assert written(decoder, prompts(3), NEW, True) == small


@pytest.mark.parametrize("made", ["slots", "static", "plain"])
def test_answers_of_free_length_end_at_the_end_token(made: str) -> None:
    fixed = written(Decoder(network("llama"), frozenset({2})), prompts(*LENGTHS), NEW, True)
    ends = frozenset({fixed[0][3], fixed[3][0]})
    makers: dict[str, Callable[[], Decoder | GraphDecoder | PlainDecoder]] = {
        "slots": lambda: Decoder(network("llama"), ends, PREFIX),
        "static": lambda: GraphDecoder(network("llama"), ends, 100, NEW),
        "plain": lambda: PlainDecoder(network("llama", "sdpa"), ends, 0),
    }
    decoder = makers[made]()
    assert written(decoder, prompts(*LENGTHS), NEW, False) == [cut(row, ends) for row in fixed]
    assert written(decoder, prompts(*LENGTHS), NEW, True) == fixed
    assert written(decoder, prompts(*LENGTHS)[3:4], NEW, False) == [fixed[3][:1]]


@pytest.mark.parametrize("warmed", [0, 2, 3, 8])
def test_fixed_shapes_change_no_token(family: str, warmed: int) -> None:
    static = GraphDecoder(network(family), frozenset({2}), 200, NEW)
    if warmed:
        static.warm(warmed)
    expected = written(Decoder(network(family), frozenset({2})), prompts(*LENGTHS), NEW, True)
    assert written(static, prompts(*LENGTHS), NEW, True) == expected
    assert [written(static, [prompt], NEW, True)[0] for prompt in prompts(*LENGTHS)] == expected
    assert written(static, prompts(150, 3), 4, True) == written(
        Decoder(network(family), frozenset()), prompts(150, 3), 4, True
    )


def test_warming_prepares_every_shape_up_to_the_largest_batch() -> None:
    static = GraphDecoder(network("llama"), frozenset(), 200, NEW)
    static.warm(6)
    assert set(static._buckets) == {(rows, n) for rows in (1, 2, 4, 6) for n in (128, 192, 256)}
    before = dict(static._buckets)
    written(static, prompts(100, 3, 5), NEW, True)
    assert static._buckets == before


def test_memory_that_moves_forgets_what_was_recorded_over_it() -> None:
    static = GraphDecoder(network("llama"), frozenset(), 200, NEW)
    written(static, prompts(10), NEW, True)
    written(static, prompts(150), NEW, True)
    assert set(static._buckets) == {(1, 192)}


def test_slots_keep_their_memory_between_batches() -> None:
    slots, like = Slots(), torch.zeros(1, 2, 7, 4)
    slots.resize(3, 10)
    keys, values = slots.layer(0, like)
    assert keys.shape == values.shape == (3, 2, 10, 4)
    where = keys.data_ptr()
    slots.resize(2, 5)
    assert slots.layer(0, like)[0].data_ptr() == where
    assert len(slots.kept()) == 1


def test_bfloat16_runs(family: str) -> None:
    decoder = Decoder(network(family).to(torch.bfloat16), frozenset({2}), PREFIX)
    assert [len(row) for row in written(decoder, prompts(*LENGTHS), NEW, True)] == [NEW] * len(LENGTHS)


def test_cut_keeps_the_first_end_token() -> None:
    assert cut([5, 2, 7, 2], frozenset({2})) == [5, 2]
    assert cut([5, 7], frozenset({2})) == [5, 7]
