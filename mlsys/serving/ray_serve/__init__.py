"""`server=ray` from the inside: the application, its replicas, and the Ray that it runs on."""
