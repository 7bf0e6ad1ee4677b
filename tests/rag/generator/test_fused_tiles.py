"""Tiles that fit every product they are for."""

import pytest

from mlsys.rag.generator.fused_tiles import MEASURED, SHARED, Product, most_rows, power, span, splits


@pytest.mark.parametrize("item", [2, 4])
@pytest.mark.parametrize(
    ("width", "columns", "span"), [(576, 960, 64), (1536, 576, 576), (96, 64, 64), (2048, 128256, 128)]
)
@pytest.mark.parametrize("name", [*MEASURED[32], "vocabulary"])
@pytest.mark.parametrize("rows", [1, 2, 32, 128, 300, 5000])
@pytest.mark.parametrize("large", [False, True])
def test_tiles_divide_what_they_cut(
    name: str, rows: int, width: int, columns: int, span: int, item: int, large: bool
) -> None:
    tile = Product(name, rows, width, columns, span, item, large=large).shape(132)
    assert span % tile["COLS"] == 0
    assert (tile["ROWS"] == 1) == (rows == 1)
    for size in (tile["ROWS"], tile["COLS"], tile["INNER"]):
        assert size == power(size)
    if rows > 1:
        assert min(tile["ROWS"], tile["COLS"], tile["INNER"]) >= 16


@pytest.mark.parametrize("rows", [1, 8, 32, 128, 300])
def test_a_head_that_is_normed_as_a_whole_is_one_program_s_and_fits_its_memory(rows: int) -> None:
    tile = Product("qkv", rows, 1024, 4096, 128, 2, large=True, whole=True).shape(132)
    assert tile["COLS"] == 128
    assert tile["num_stages"] >= 1
    assert (tile["ROWS"] + 128) * tile["INNER"] * 2 * tile["num_stages"] <= SHARED


def test_a_small_product_is_cut_until_every_processor_has_some() -> None:
    cols = [Product("swiglu", 1, 576, 3072, 3072, 2).shape(many)["COLS"] for many in (8, 132, 1000)]
    assert cols == sorted(cols, reverse=True)
    assert cols[0] > cols[-1]


def test_one_row_divides_its_keys_unless_it_has_many_heads() -> None:
    assert [splits(heads, 132) for heads in (1, 3, 33, 34)] == [8, 8, 8, 1]


def test_a_card_with_less_shared_memory_has_fewer_stages_and_keys_at_once() -> None:
    product = Product("down", 128, 1536, 576, 576, 2)
    assert [product.shape(132, shared)["num_stages"] for shared in (232_448, 101_376)] == [4, 2]
    assert [span(384, 1, 128, shared)["BLOCK"] for shared in (232_448, 101_376)] == [256, 64]


def test_small_layers_are_fused_at_any_usual_size_and_large_ones_in_short_steps() -> None:
    assert [most_rows(weights) for weights in (3_500_000, 60_000_000)] == [8571, 256]
