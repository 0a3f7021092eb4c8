"""Handlers in a module of their own, so that a child imports nothing else. Three of them are faulty."""

import os


def count_primes(job):
    job.update_progress(0)
    return sum(all(number % divisor for divisor in range(2, int(number**0.5) + 1)) for number in range(2, job.data))


def crash(job):
    os._exit(1)  # as a fault in a C library would


def hang(job):
    while True:
        pass


def hoard(job):
    hoarded = []
    while True:
        hoarded.append("x" * 1_000_000)
