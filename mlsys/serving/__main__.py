"""`python -m mlsys.serve CONFIG.yaml`: one serving process from a resolved configuration.

Used by the serving benchmark, by the balancer for its replicas, and by anyone who keeps a `config.yaml`.
Prints `serving on ADDRESS` once requests are answered. A mistake in the configuration is one line and exit
status 2.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mlsys import interrupts
from mlsys.errors import MISUSE
from mlsys.faults import wall_clock
from mlsys.quantities import limit_threads
from mlsys.serving.starting import checked, reported


def main(arguments: list[str]) -> int:
    """Serve the configuration in the file `arguments[0]`; returns the exit status."""
    if len(arguments) != 1:
        print("error: usage: python -m mlsys.serve CONFIG.yaml", file=sys.stderr)
        return MISUSE
    return reported(lambda: serve(Path(arguments[0])))


def serve(path: Path) -> int:
    """Check everything, take the port, then build and serve."""
    mode, config = checked(path)
    wall_clock.install(mode.label)
    limit_threads(mode.threads)
    from mlsys.serving import engine, parts
    from mlsys.serving.http import server
    from mlsys.serving.reloading import Reload

    built = parts.of(config, path.resolve().parent)
    if hasattr(mode, "run"):  # it serves in processes of its own
        return int(mode.run(built))
    apart = engine.wanted(mode, config)
    listener = server.bind(mode.host, mode.port)
    with listener:
        service = engine.service(mode, path) if apart else mode.service(built)
        return server.run(service, mode, listener, Reload(lambda: checked(path), service))


if __name__ == "__main__":
    interrupts.leave_at_once(0)  # until it serves, when a stop lets running work end
    sys.exit(main(sys.argv[1:]))
