"""OpenAI's protocol: what its clients send, what they are told, and how errors look there.

What is known and not supported is refused by name unless it has the value that changes nothing.
"""
