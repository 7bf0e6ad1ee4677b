"""What an answer goes through, in order: servers time these stages, and load tester and pages name them.


A service tells of those that it has: whole answers are generated, or prompts are read (prefill) and then written to
token by token (decode).
"""

STAGES = ("queue", "embed", "retrieve", "rerank", "prompt", "generate", "prefill", "decode", "respond")
