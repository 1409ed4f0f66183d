"""Streams between two other cells."""
