"""What a service counts for Prometheus on `/metrics`, read before, during and after each level of a load."""
