"""`python -m mlsys.dashboard outputs/`: the name that commands and scripts know; see `mlsys.report.__main__`."""

import sys

from mlsys.report.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
