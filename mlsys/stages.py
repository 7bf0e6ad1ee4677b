"""What an answer goes through, in order: servers time these stages, and load tester and pages name them."""

STAGES = ("queue", "embed", "retrieve", "rerank", "prompt", "generate", "respond")
