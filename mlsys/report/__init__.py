"""What records say, drawn for people: a table, a page, sentences. It sees records only."""
