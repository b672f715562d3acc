"""An OpenAI-compatible endpoint: asked at a pace, again where it is busy, and never told more than the messages."""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from radisim_cl.errors import InputError, RadisimError

KEY = "RADISIM_API_KEY"
MOST_TOKENS = 1024
"""Of an answer, with what a model thinks before it."""
_MALFORMED = 3
"""Answers in a row that are no chat completions, after which an endpoint is not asked again."""


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: without white space around it; empty where it refused.
        finish: why it ended: `stop`, or `length` where it was cut off.
        tokens: of the request, and of the answer; 0 where the endpoint does not count.
    """

    text: str
    finish: str
    tokens: tuple[int, int]


@dataclass
class Pace:
    """Lets requests go at equal distances.

    Attributes:
        per_minute: how many.
        clock: seconds.
        sleep: waits so many.
    """

    per_minute: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = field(default_factory=lambda: time.sleep)
    _next: float = field(default=float("-inf"), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self, request: object = None) -> None:
        """Waits for the turn of a request; of threads that wait, each has its own."""
        with self._lock:
            now = self.clock()
            at = max(now, self._next)
            self._next = at + 60 / self.per_minute
        if at > now:
            self.sleep(at - now)


def host_of(url: str) -> str:
    """The host of an endpoint's URL.

    Raises:
        InputError: it is no URL, or holds a name and password or a query, which would be secrets on a command line.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise InputError("--endpoint: is no URL, as in http://localhost:8000/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise InputError(f"--endpoint: holds more than scheme, host and path; a key goes into the environment, as {KEY}")
    return host


def is_local(host: str) -> bool:
    """Whether a host is this machine, by its name or number alone: names are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Endpoint:
    """Chat completions of one endpoint; used by several threads at once."""

    def __init__(self, url: str, per_minute: float, timeout: float = 120.0, retries: int = 6) -> None:
        """Takes the key from the environment; nothing is sent yet.

        Args:
            url: that `/chat/completions` comes after.
            per_minute: requests, those that are sent again among them.
            timeout: seconds without a byte, after which a request is given up.
            retries: of a request, where the endpoint is busy, fails or is not there: after what its `Retry-After` says (by openai 3.57, two
                minutes at most), or after half a second, one, two, ... up to eight.

        Raises:
            InputError: the package `openai` is not installed, or it is no URL.
        """
        try:
            import openai
        except ImportError:
            raise InputError("captions from an endpoint need the package openai: `python -m pip install 'radisim-cl[endpoint]'`") from None
        self.host = host_of(url)
        self._openai, self._key = openai, os.environ.get(KEY, "").strip()
        # A proxy or a redirect would take what is asked of this machine elsewhere.
        web = openai.DefaultHttpxClient(follow_redirects=False, trust_env=not is_local(self.host), event_hooks={"request": [Pace(per_minute)]})
        self._client = openai.OpenAI(api_key=self._key or "none", base_url=url, timeout=timeout, max_retries=retries, http_client=web)

    def ask(self, body: Mapping[str, Any]) -> Answer:
        """Sends a request, and waits for the answer.

        Args:
            body: `model`, `messages` and what else the endpoint takes.

        Raises:
            InputError: the endpoint refuses such requests.
            RadisimError: it is not there, busy or broken, and was asked often enough.
        """
        for _ in range(_MALFORMED):
            try:
                said = self._client.chat.completions.create(**body, max_completion_tokens=MOST_TOKENS)
                first, used = said.choices[0], said.usage
                return Answer((first.message.content or "").strip(), first.finish_reason or "",
                              (used.prompt_tokens or 0, used.completion_tokens or 0) if used else (0, 0))
            except (ValueError, TypeError, AttributeError, IndexError, self._openai.APIResponseValidationError):
                continue
            except self._openai.APIStatusError as e:
                raise self._refusal(e.status_code, str(e.message)) from None
            except self._openai.APIConnectionError as e:  # a time-out is one
                what = "did not answer in time" if isinstance(e, self._openai.APITimeoutError) else "cannot be reached"
                raise RadisimError(f"endpoint {self.host}: {what}; start the same command again, and it goes on from here") from None
        raise RadisimError(f"endpoint {self.host}: answers with what is no chat completion; see that --endpoint is its API, as in "
                           "http://localhost:8000/v1, then start the same command again")

    def _refusal(self, status: int, message: str) -> RadisimError:
        told = " ".join(message.replace(self._key or "\n", "...").split())[:200]
        if status in (408, 409, 429) or status >= 500:
            return RadisimError(f"endpoint {self.host}: is busy or broken ({told}); start the same command again later, and it goes on from here")
        keyless = f"; {KEY} is not set" if status in (401, 403) and not self._key else ""
        return InputError(f"endpoint {self.host}: refuses the request ({told}){keyless}; correct --endpoint, --model, --temperature or the key")


def examples(bodies: Sequence[Mapping[str, Any]], n: int = 3) -> list[dict[str, Any]]:
    """Some of many requests, evenly spread, as they would be sent."""
    step = max(1, len(bodies) // n)
    return [{**body, "max_completion_tokens": MOST_TOKENS} for body in bodies[::step][:n]]
