"""Cells that are not neighbours: routes, announcements, questions, and who may say what."""
