"""The distances of every row of x to every row of y, as scipy's and torch's `cdist`: float64's digits, bounded memory.

`matrix` is the function and its operator, `cpu` and `gpu` compute, `products` has the forms that are a matrix product,
`gradient` what comes back, `benchmark` measures it.
"""
