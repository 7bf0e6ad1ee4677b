"""Is B faster than A? Which differences between records are real, and which are the noise of the machine.

`python -m mlsys.compare A B`; see `mlsys.compare.__main__` for the options, `mlsys.compare.noise` for the
method.
"""
