"""`server=continuous` from the inside: a planner that says what is in each step, and the thread that runs the steps."""
