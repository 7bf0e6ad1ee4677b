"""One run from its command line to its record: parse, choose, build, measure, record."""
