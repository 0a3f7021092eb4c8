"""Amazon SQS in production: permissions, credentials, outages, costs, and what its queues can do."""
