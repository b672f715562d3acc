"""Whether what is known of a corpus may leave this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from radisim_cl.errors import InputError
from radisim_cl.written.endpoint import is_local

_OPEN = re.compile(r"cc0|cc[ -]by|creative commons|public domain|pddl|odc-by|odbl|mit\b|bsd|apache", re.I)


def may_leave(name: str, card: Mapping[str, object], licences: Iterable[str], host: str) -> None:
    """Facts of a corpus go to another machine only where its card names no data-use agreement; without a card, only where each row's licence is open.

    Args:
        name: of the corpus.
        card: beside its manifest; empty where there is none.
        licences: of the rows, "" where a row has none.
        host: of the endpoint.

    Raises:
        InputError: they may not.
    """
    if is_local(host):
        return
    do = f"{host} is not this machine: serve a model here, and give --endpoint http://localhost:.../v1"
    if card.get("agreement"):
        raise InputError(f"corpus {name!r} is had under an agreement ({card['agreement']}), under which its labels go to no third party. {do}")
    closed = sorted({licence or "none" for licence in licences if not _OPEN.match(licence)})
    if not card and closed:
        raise InputError(f"corpus {name!r} has no card.yaml beside its manifest that would say under which terms it is had, and rows whose licence "
                         f"is not known to be open ({', '.join(closed[:5])}). {do}; or write the card, with `agreement` where there is one")
