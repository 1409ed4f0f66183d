"""Cases of honest use that once broke, numbered by section and row: 1 truth of endings, 2 restarts and ways round,
3 the process around a cell, 4 what can be sent, 5 inbox and folders, 6 command line, 7 time and memory, 8 the wire.
"""
