"""Retrieval-augmented generation as four stages that each take a batch: embed, retrieve, prompt, generate."""
