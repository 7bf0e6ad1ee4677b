"""The RAG service: one straight line from HTTP to answer, in modes that differ by the pieces on it."""
