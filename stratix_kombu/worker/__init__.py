"""The in-process host: takes messages, claims jobs, runs handlers, settles outcomes."""
