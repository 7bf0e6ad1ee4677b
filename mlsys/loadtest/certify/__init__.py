"""How sure a level's figures are: what its requests prove, and what they are too few or too unsteady to prove.

Requests that wait in one line resemble their neighbours, so a thousand of them may know no more than fifty
strangers do. Each module is one answer to that, pure: numbers in, numbers out.
"""
