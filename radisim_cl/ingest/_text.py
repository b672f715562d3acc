"""Text that is burned into pixels: what looks like a line of bright letters. Cheap (2 ms a picture), and no reader of words.

On the open sample (docs/open_sample.md) it marks 82 of the 215 pictures of VQA-RAD, which nearly all have a stamp or a scale, and 5 of the other
3,681. Faint stamps, single letters and dark letters are not found.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_STROKE, _CONTRAST = 0.03, 90
"""Widest stroke, in parts of the picture's longest side; grey levels that letters are brighter than what surrounds them."""
_HEIGHTS, _LEAST = (0.015, 0.05), 5
"""Heights of letters, in parts of the longest side; and the least in pixels, below which nobody could read one."""
_WIDE, _GAP = 1.3, 1.2
"""Width of a letter and room to the next one, in heights of the letter, at the most."""
_BASE, _EVEN = 0.15, 0.25
"""By which neighbours differ in where they stand and in height, in heights of the letter, at the most."""
_MARKS = 4000
"""Bright spots above which a picture is texture."""
LETTERS = 3
"""In a line, from which on a picture is marked."""


def letters(pixels: npt.NDArray[np.uint8]) -> int:
    """How many bright marks of the size of letters stand in the longest line of (h, w) grey levels."""
    side = max(pixels.shape)
    stroke = max(3, int(side * _STROKE) | 1)
    bright = pixels.astype(np.int16) - ndimage.grey_opening(pixels, (stroke, stroke)) > _CONTRAST
    marks, n = ndimage.label(bright, np.ones((3, 3)))
    if n > _MARKS:
        return 0
    low, high = max(_LEAST, _HEIGHTS[0] * side), _HEIGHTS[1] * side + 1
    boxes = [(rows.stop, rows.stop - rows.start, columns.start, columns.stop) for rows, columns in ndimage.find_objects(marks)]
    found = sorted((b for b in boxes if low <= b[1] <= high and b[3] - b[2] <= _WIDE * b[1] + 1), key=lambda box: box[2])
    longest = [1] * len(found)
    for i, (base, height, left, _) in enumerate(found):
        for j, (base_, height_, _, right) in enumerate(found[:i]):
            near = right - 1 <= left <= right + _GAP * height_
            if near and abs(base - base_) <= max(1, _BASE * height_) and abs(height - height_) <= max(1, _EVEN * height_):
                longest[i] = max(longest[i], longest[j] + 1)
    return max(longest, default=0)
