"""The benchmark: `python -m scripts.bench`, or `--quick`.

A peer (`peers/`) is one way to get bytes from a process to another; a workload (`workloads/`) is what is measured. Each
end of each measurement is a fresh process (`worker`), told what to do over its standard input by `processes`.
"""
