"""Measure GPU vector distances and RAG serving, one experiment at a time."""
