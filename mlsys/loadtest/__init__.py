"""Load on a service: arrivals say when, questions what, the client sends and stamps, statistics judge."""
