"""Searching by Triton kernels, on a GPU."""
