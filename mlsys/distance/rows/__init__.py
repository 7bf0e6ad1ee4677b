"""Distances of many pairs at once, a row of x and a row of y each: `distance(x, y, metric, dim=-1)`.

`cpu` has Numba's or NumPy's loop over the rows, `kernels` and `gpu` a Triton kernel that takes all rows in one launch.
`paired` brings what a user has to their form, `benchmark` measures them.
"""
