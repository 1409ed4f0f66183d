"""Who may be a neighbour, and who may send what to whom: read from TOML, decided by rules, remembered."""
