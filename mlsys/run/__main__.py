"""`mlsys …`, `python -m mlsys.run …` and, in a checkout, `python run.py …`."""

from __future__ import annotations

import sys

from mlsys import interrupts


def main() -> int:
    """Run what the command line says. Returns the exit status, see `cli.call`."""
    interrupts.leave_at_once()  # what follows takes a second to import
    from mlsys.run import app

    return app.start()


if __name__ == "__main__":
    sys.exit(main())
