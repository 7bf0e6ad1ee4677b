"""What queueing theory says that a service must do: closed forms and exact chains, each in a module with its source.

A measurement that nobody can check is an opinion. These forms are the check: given arrivals and what a batch costs,
they say how long requests take. Everything here is pure: numbers in, numbers out. Rates are per second, times in
ms.
"""
