"""The load generator's process, run for a specification."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from mlsys.loadtest.children import environment
from mlsys.loadtest.spec import KEY_VARIABLE, Spec


async def generate(spec: Spec, key: str | None = None, descriptors: int = 1024) -> list[dict[str, Any]]:
    """The events that it says. `key`: of the service; `descriptors`: how many files it may have open."""
    environ = {**os.environ, **environment({KEY_VARIABLE: key} if key else None)}
    child = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"),
        *(sys.executable, "-m", "mlsys.loadtest", str(spec.write())),
        stdout=asyncio.subprocess.PIPE,
        env=environ,
    )
    output, _ = await child.communicate()
    assert child.returncode == 0
    return [json.loads(line) for line in output.splitlines()]
