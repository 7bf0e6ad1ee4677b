"""Measure this GPU's tuning table into OUT/tuning.json: `python experiments/h100_distance/tune.py OUT`."""

import json
import sys
from pathlib import Path

import torch

from mlsys.distance.tune import tune

out = Path(sys.argv[1])
table = tune(torch.device("cuda", 0), out / "tune.jsonl")
(out / "tuning.json").write_text(json.dumps(table, indent=1) + "\n")
print(json.dumps(table))
