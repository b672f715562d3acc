"""Readers of the layouts in which images are distributed: each public module is one, and `ingest` makes a corpus of what it finds.

A layout is a module with

- `ABOUT`, what is known of the set beforehand, and `ENDINGS`, of the files that are listed,
- `records(files, folder, settings)`, which finds what belongs together and what is known of it, and
- `pictures(record, settings)`, which reads one of them (`_protocol.py`).
"""
