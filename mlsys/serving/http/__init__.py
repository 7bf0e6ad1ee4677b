"""A service's HTTP side: connections, routes, bodies, and the process that listens."""
