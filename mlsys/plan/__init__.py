"""Which mode, how large a batch, how many replicas: from records of real runs, for a rate and a limit.

What a batch costs is fitted to the records, every candidate is simulated in virtual time by the classes that serve in
real time, and the cheapest that hold the limit are told with what is not known of them. `python -m mlsys.plan`.
"""
