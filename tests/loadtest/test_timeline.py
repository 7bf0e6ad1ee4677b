from __future__ import annotations

import pytest
from made_rows import row

from mlsys.loadtest.phases import WARMUP
from mlsys.loadtest.rows import FAILED
from mlsys.loadtest.timeline import timeline


def test_latencies_are_medians_of_bins_since_the_first_request_was_due() -> None:
    rows = [row(10 + i / 10, 10 + i / 10 + (0.1 if i < 10 else 0.3)) for i in range(20)]
    rows += [row(0, 9, phase=WARMUP), row(10.5, 19, outcome=FAILED)]
    found = timeline([rows])
    assert found["timeline.s"] == pytest.approx([1.9 * (i + 0.5) / 4 for i in range(4)])
    assert found["timeline.e2e_ms"] == pytest.approx([100, 100, 300, 300])
    assert "timeline.ttft_ms" not in found


def test_a_stretch_without_answers_has_no_point_and_few_requests_no_line() -> None:
    rows = [row(i / 10, i / 10 + 1) for i in (*range(10), *range(90, 100))]
    assert len(timeline([rows])["timeline.s"]) == 2
    assert timeline([rows[:6]]) == timeline([]) == {}


def test_repeats_lie_over_one_another() -> None:
    early = [row(i, i + 1, first_text_s=i + 0.5) for i in range(10)]
    late = [row(100 + i, 100 + i + 3, first_text_s=100 + i + 2.5) for i in range(10)]
    found = timeline([early, late])
    assert found["timeline.e2e_ms"] == pytest.approx([2000] * 4)
    assert found["timeline.ttft_ms"] == pytest.approx([1500] * 4)
