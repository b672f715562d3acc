"""Pages: one HTML file each, with its style and figures inside, that asks the network for nothing and runs no script.

`templates/base.html.j2` is the frame of every page: banner, contents, light and dark, print, narrow screens. A page extends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import jinja2

from radisim_cl.records.scorecard import Interval

MINUS = "\N{MINUS SIGN}"


def render(template: str, **told: Any) -> str:
    """A page. Everything that is told is escaped, but for what `figures.svg` has drawn.

    Args:
        template: a file of `templates/`.
        told: what the template asks for; it is an error if something lacks.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("radisim_cl.report"), autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {f.__name__: f for f in (number, interval, signed, whole, percent, took, words, where, minus)}
    return environment.get_template(template).render(told)


def minus(told: str) -> str:
    """A sentence with a minus sign before numbers below 0, and one sign for at least."""
    return re.sub(r"(?<![\w.])-(?=\d)", MINUS, told).replace(">=", "≥")


def number(x: float | None, digits: int = 3) -> str:
    """0.512; a dash for nothing."""
    return "–" if x is None else f"{x:.{digits}f}".replace("-", MINUS)


def signed(x: float, digits: int = 3) -> str:
    """+0.051."""
    return f"{x:+.{digits}f}".replace("-", MINUS)


def interval(i: Interval | None, digits: int = 3) -> str:
    """[0.431, 0.590]; nothing for nothing."""
    return "" if i is None else f"[{number(i.low, digits)}, {number(i.high, digits)}]"


def whole(n: float) -> str:
    """12,000."""
    return f"{n:,.0f}"


def percent(x: float) -> str:
    """12.5 %."""
    return f"{100 * x:.1f}\N{NO-BREAK SPACE}%"


def took(seconds: float) -> str:
    """3 min 20 s; 2 h 5 min; 3 days 4 h."""
    whole_seconds = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole_seconds.seconds, 3600)
    minutes, left = divmod(rest, 60)
    days = whole_seconds.days
    parts = [(days, "day" + "s" * (days != 1)), (hours, "h"), (minutes, "min"), (left, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts = parts[1:]
    return " ".join(f"{n} {unit}" for i, (n, unit) in enumerate(parts[:2]) if n or not i)


def words(things: Iterable[Any]) -> str:
    """a, b and c."""
    listed = [str(t) for t in things]
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}" if listed else "none"


def where(condition: Mapping[str, str | list[str]]) -> str:
    """level = anatomy or localization."""
    return "; ".join(f"{k} = {v if isinstance(v, str) else ' or '.join(v)}" for k, v in condition.items()) or "all"
