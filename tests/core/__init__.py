"""The protocol by itself (verbs and frames in, frames and events out), and the laws of the house."""
