"""What travels between cells, as values: frames, who they are from and for, what their checksums cover."""
