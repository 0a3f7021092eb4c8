"""The API of one queue: jobs, flows, repeatable jobs, events and housekeeping, and the manager of all queues."""
