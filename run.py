"""Run one experiment, or with -m a sweep: parse, build, measure, record. `python run.py --help` explains itself."""

import sys

from mlsys.run.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
