"""run.py for who does not look at its times: the caches that are flushed and the copies that are timed are small."""

from __future__ import annotations

import sys

from mlsys import environment, timing
from mlsys.run.__main__ import main

timing.COPY_BYTES["cpu"] = 2**20
vars(timing)["last_level_cache_bytes"] = lambda: 2**18
environment.WATCH_S = 0.0

if __name__ == "__main__":
    sys.exit(main())
