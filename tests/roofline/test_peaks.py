"""Cards are found by the names that drivers give them; a CPU measures itself."""

from __future__ import annotations

import pytest

from mlsys.roofline import peaks


@pytest.mark.parametrize(
    ("name", "dtype", "gbps", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 3350, 989),
        ("NVIDIA H100 80GB HBM3", "float32", 3350, 67),
        ("NVIDIA H100 PCIe", "float16", 2000, 756),
        ("NVIDIA H100 NVL", "bfloat16", 3900, 835),
        ("NVIDIA H200", "bfloat16", 4800, 989),
        ("NVIDIA A100-SXM4-40GB", "bfloat16", 1555, 312),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 2039, 312),
        ("NVIDIA L4", "bfloat16", 300, 121),
        ("NVIDIA L40S", "bfloat16", 864, 362),
        ("NVIDIA GeForce RTX 4090", "bfloat16", 1008, 165),
        ("Tesla T4", "float16", 320, 65),
        ("Tesla T4", "bfloat16", 320, None),
    ],
)
def test_a_card(name: str, dtype: str, gbps: float, tflops: float | None) -> None:
    found = peaks.card(name, dtype)
    assert (found.bandwidth_gbps, found.tflops) == (gbps, tflops)
    assert "NVIDIA" in found.source


def test_a_card_that_nobody_knows_has_no_peak() -> None:
    found = peaks.card("NVIDIA A1000 Laptop", "bfloat16")
    assert (found.bandwidth_gbps, found.tflops) == (None, None)
    assert found.source == "unknown: NVIDIA A1000 Laptop is not in the table of cards"


def test_a_cpu_measures_itself_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "READ_FLOATS", 1 << 20)
    peaks.cpu.cache_clear()
    found = peaks.of("cpu", "float32")
    assert found.bandwidth_gbps is not None
    assert found.bandwidth_gbps > 0
    assert found.tflops is not None
    assert found.tflops > 0
    assert peaks.of("cpu", "bfloat16").tflops is None
    peaks.cpu.cache_clear()
