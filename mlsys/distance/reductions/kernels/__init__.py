"""What the Triton reductions are made of."""
