"""Who ingests: ids are hashed with what the site keeps secret."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """Who ingests: what is kept secret, and what counts as one patient.

    Attributes:
        salt: of the site; ids cannot be guessed without it, and are the same in all corpora that were made with it.
        patient: regular expression whose first group, in the native patient id, is the patient; empty: all of it.
    """

    salt: str
    patient: str = ""

    def pseudonym(self, kind: str, native: str) -> str:
        """20 hexadecimal digits of HMAC-SHA256."""
        return hmac.new(self.salt.encode(), f"{kind}\0{native}".encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:20]

    def patient_of(self, native: str) -> str:
        """What counts as the patient; empty where the pattern does not match."""
        if not self.patient:
            return native
        found = re.search(self.patient, native)
        return found.group(1) or "" if found else ""
