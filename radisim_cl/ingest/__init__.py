"""Readers of the layouts in which images are distributed: each public module is one, and `ingest` makes a corpus of what it finds.

A layout is a module with `records(files, folder)`, which finds what belongs together, and `pictures(record, settings)`, which reads one of them
(`_protocol.py`).
"""
