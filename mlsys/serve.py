"""`python -m mlsys.serve CONFIG.yaml`: the name that commands and scripts know; see `mlsys.serving.__main__`."""

import sys

from mlsys.serving.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
