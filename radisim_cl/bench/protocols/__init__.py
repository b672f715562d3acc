"""Protocols: how a subtask's images are scored. One module each, found by its file name; none imports torch.

A protocol has

- `NEEDS`: what it must be shown, a `Needs`;
- `queries(spec, frame, embed)`: the (K, D) unit vectors that images are compared with; `frame` is what is asked about, of `items`;
- `score(spec, seen)`: what the model answers, by who answers: frames with `item, patient, truth` and `scores`, a list a row;
- `read(spec, rows)`: the stored answers of one subtask as `Answers` or `Values`, by who answered;
- `lacking(spec, answers)`: why no decision may rest on them, or nothing.
"""
