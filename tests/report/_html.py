"""Pages, parsed strictly; what a reader's browser would ask for, and what a screen reader would miss."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections import Counter

import html5lib

X = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


def parsed(page: str) -> ET.Element:
    """The page's tree.

    Raises:
        html5lib.html5parser.ParseError: it is not valid.
    """
    tree: ET.Element = html5lib.HTMLParser(strict=True).parse(page)
    return tree


def text(tree: ET.Element) -> str:
    """What is read, on one line."""
    return re.sub(r"\s+", " ", " ".join(t for e in tree.iter() for t in (e.text if e.tag != f"{X}style" else "", e.tail) if t))


def asked_for(tree: ET.Element) -> list[str]:
    """What a browser would load: any address that is not within the page."""
    out = []
    for e in tree.iter():
        for name, value in e.attrib.items():
            if name in ("src", "srcset", "data", "poster", "action", LINK) or (name == "href" and e.tag != f"{X}a"):
                out.append(value)
            out += re.findall(r"url\(\s*[\"']?([^)\"']+)", value)
        if e.tag in (f"{X}style", f"{SVG}style"):
            out += re.findall(r"url\(\s*[\"']?([^)\"']+)", e.text or "") + re.findall(r"@import\s+[\"']([^\"']+)", e.text or "")
    return [a for a in out if not a.startswith(("#", "data:"))]


def faults(tree: ET.Element) -> list[str]:
    """What those who do not see the page, or move in it without a mouse, would stumble over."""
    out = [f"id {i} stands {n} times" for i, n in Counter(e.get("id") for e in tree.iter() if e.get("id")).items() if n > 1]
    ids = {e.get("id") for e in tree.iter()}
    for e in tree.iter():
        if e.tag == f"{X}img" and not (e.get("alt") or "").strip():
            out.append("an image without a text")
        if e.tag == f"{SVG}svg" and (e.get("role") != "img" or not all(ids >= {i} for i in (e.get("aria-labelledby") or "none").split())):
            out.append("a plot without a name")
        if e.tag == f"{X}table":
            if e.find(f"{X}caption") is None:
                out.append("a table without a caption")
            out += ["a heading of a table without a scope" for th in e.iter(f"{X}th") if th.get("scope") not in ("col", "row", "rowgroup")]
        if e.tag == f"{X}a" and (e.get("href") or "").startswith("#") and str(e.get("href"))[1:] not in ids:
            out.append(f"a link to nowhere: {e.get('href')}")
        if e.tag == f"{X}script" or any(name.startswith("on") for name in e.attrib):
            out.append("a script")
    levels = [int(e.tag[-1]) for e in tree.iter() if re.fullmatch(re.escape(X) + r"h[1-6]", str(e.tag))]
    out += [f"a heading of level {b} after one of level {a}" for a, b in itertools.pairwise(levels) if b > a + 1]
    if levels.count(1) != 1:
        out.append(f"{levels.count(1)} headings of level 1")
    return out


def luminance(colour: str) -> float:
    """Of `#rgb` or `#rrggbb` (WCAG 2.2, relative luminance)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Of two colours, 1 to 21 (WCAG 2.2)."""
    a, b = sorted((luminance(one), luminance(other)))
    return (b + 0.05) / (a + 0.05)
