"""Networks of cores in virtual time, under faults that a seed chooses: anything in which order or luck matters."""
