"""A picture of a page in Chromium, as its reader sees it. Not part of the checks: it needs `chromium` on the path.

    python docs/report_picture.py runs/radiologist/report.html docs/images/report.png
    python docs/report_picture.py runs/radiologist/report.html dark.png --dark --height 9000
    python docs/report_picture.py runs/radiologist/report.html report.pdf --print
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

COLOURS = 128
"""Of the PNG: the plots and words stay as they are, and it is a third of the size."""


def main() -> None:
    """Draws one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1080, help="pixels of the window")
    parser.add_argument("--height", type=int, default=1500)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--print", action="store_true", help="a PDF, as it is printed")
    args = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or not args.page.is_file():
        sys.exit(f"no {'chromium on the path' if browser is None else args.page}")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={args.width},{args.height}"]
    options += ["--blink-settings=preferredColorScheme=0"] if args.dark else []
    options += ["--no-pdf-header-footer", f"--print-to-pdf={args.out}"] if args.print else [f"--screenshot={args.out}"]
    subprocess.run([browser, *options, args.page.resolve().as_uri()], check=True, capture_output=True)
    if not args.print:
        Image.open(args.out).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
