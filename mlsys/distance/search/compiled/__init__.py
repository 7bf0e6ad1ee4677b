"""Searching on a CPU in one pass over the rows, by a loop that Numba compiles."""
