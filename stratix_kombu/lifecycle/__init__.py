"""The verbs of a job's life: the only code that holds a store and a driver together. One that has a rule of its own has
a file; those that only make a transition are together: ``one_job``, ``one_queue``, ``outcomes``.

Every verb makes one transition in the store and ends in ``dispatch``.
"""
