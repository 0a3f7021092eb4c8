"""The exported suites against every store and driver."""
