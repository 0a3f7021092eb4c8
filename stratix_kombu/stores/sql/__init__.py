"""The rules of the memory store, the executable specification, over tables.

A step loads what it looks at, makes the moves of the memory store on it, and writes back what has changed, all in one
transaction: ``SqlSpace`` is a namespace whose parts are read when they are asked for. What looks at many jobs asks for
a page of them (``upkeep``, ``queries``). What differs between databases is behind ``Database``.
"""
