from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlsys import defaults
from mlsys.loadtest import children, engine_alone
from mlsys.loadtest.options import split
from mlsys.record import Level


@pytest.mark.parametrize(
    "error", [OSError(11, "Resource temporarily unavailable"), RuntimeError("it ended")], ids=repr
)
def test_levels_that_were_measured_stay_where_the_engine_alone_cannot_run(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Iterator[dict[str, Any]]:
        yield {"event": "rate", "batch": 1, "rate_rps": 4.0}
        raise error

    monkeypatch.setattr(children, "events", fails)
    load, _ = split(defaults.section("loadtest", "closed"))
    assert load is not None
    levels = [Level({"engine_batch": 1, "throughput_rps": 3.0}, {})]
    parts = list(engine_alone.measured({}, tmp_path, load, levels))
    assert dict(parts[0].values) == {"engine.batch_1.throughput_rps": 4.0, "engine.batch_1.reached": 0.75}
    assert list(parts[-1].values) == ["engine.error"]
    assert str(error.args[-1]) in str(parts[-1].values["engine.error"])
