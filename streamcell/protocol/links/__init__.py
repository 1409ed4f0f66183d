"""Neighbours: lanes, links, dialling, greeting, and what is written on a lane next."""
