"""The verbs of a job's life, one a file: the only code that holds a store and a driver together.

Every verb makes one transition in the store and ends in ``dispatch``.
"""
