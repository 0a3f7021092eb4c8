"""Handlers in processes of their own: a job that crashes, hangs or hoards takes nothing with it but its own child."""
