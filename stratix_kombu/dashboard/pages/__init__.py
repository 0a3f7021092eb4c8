"""The pages, one file per noun: functions of a visit and what the path names."""
