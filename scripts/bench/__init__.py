"""The benchmark: `python -m scripts.bench`, or `--quick`.

A peer (`peers/`) is one way to get bytes from a process to another; a system (`systems`) is a peer with settings; a
workload (`workloads/`) is what is measured. Each end of each measurement is a fresh process (`worker`), told what to do
over its standard input by `processes`. `report` makes tables of what came of it, `charts` pictures.
"""
