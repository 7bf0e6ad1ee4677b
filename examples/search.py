"""Exact nearest neighbours: an index that is made once, searched often, and a brute-force check of its answer."""

import numpy as np

from mlsys.distance.search import Index

random = np.random.default_rng(0)
rows = random.standard_normal((20_000, 64), dtype=np.float32)
queries = rows[:3] + 0.1 * random.standard_normal((3, 64), dtype=np.float32)

index = Index(rows, "cosine")  # keeps one number a row and no copy
distances, found = index.search(queries, k=4)
for query, (near, numbers) in enumerate(zip(distances, found, strict=True)):
    print(f"query {query}:", ", ".join(f"row {row} at {d:.4f}" for row, d in zip(numbers, near, strict=True)))

# The answer is that of a search of every row in float64, index by index.
wide, asked = rows.astype(np.float64), queries.astype(np.float64)
cosines = (asked @ wide.T) / np.linalg.norm(wide, axis=1) / np.linalg.norm(asked, axis=1)[:, None]
assert (np.argsort(-cosines, axis=1)[:, :4] == found).all()
