"""Searching in blocks of rows, by torch, NumPy and Numba: on any device."""
