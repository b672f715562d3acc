"""An endpoint is asked at a pace, again where it is busy, and nothing goes elsewhere; what may leave this machine is decided by the card."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from _endpoint import Body, Reply, Stub, failed, said

from radisim_cl.errors import InputError, RadisimError
from radisim_cl.written.endpoint import KEY, Answer, Endpoint, Pace, host_of, is_local
from radisim_cl.written.permission import may_leave

BODY = {"model": "m", "messages": [{"role": "user", "content": "modality: CT"}]}
SECRET = "sk-canary-of-a-key"
GOOD = Answer("A CT.", "stop", (20, 5))


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for, without waiting."""
    out = list[float]()
    monkeypatch.setattr(time, "sleep", out.append)
    monkeypatch.setenv(KEY, SECRET)
    return out


def asked(stub: Stub, replies: Sequence[Reply]) -> Answer:
    """What one request brings from an endpoint that answers so in turn, the last one ever again."""
    stub.answer = lambda body, n: replies[min(n, len(replies) - 1)]
    return Endpoint(stub.url, per_minute=1e9).ask(BODY)


def test_a_request_holds_the_messages_the_key_and_a_bound(slept: list[float]) -> None:
    with Stub() as stub:
        assert asked(stub, [said(" A CT. ")]) == GOOD
    assert stub.bodies == [{**BODY, "max_completion_tokens": 1024}]
    assert f"Bearer {SECRET}".encode() in stub.sent
    assert stub.sent.startswith(b"/v1/chat/completions\n")


def test_an_endpoint_that_is_busy_is_asked_again_when_it_says(slept: list[float]) -> None:
    with Stub() as stub:
        assert asked(stub, [failed(429, Retry_After="7"), failed(429, Retry_After="50"), said("A CT.")]) == GOOD
    assert slept == [7, 50]


def test_an_endpoint_that_fails_is_asked_again_at_growing_distances(slept: list[float]) -> None:
    with Stub() as stub:
        assert asked(stub, [failed(500), failed(503), failed(502), said("A CT.")]) == GOOD
    assert len(slept) == 3
    assert all(0 < a < b for a, b in pairwise(slept))


@pytest.mark.parametrize(("reply", "error", "message"), [
    (failed(500), RadisimError, "127.0.0.1: is busy or broken .*start the same command again later"),
    (failed(429, Retry_After="3600"), RadisimError, "is busy or broken"),
    (failed(401, f"Incorrect key {SECRET}"), InputError, r"refuses the request .*Incorrect key \.\.\..*the key$"),
    (failed(404, "no model m"), InputError, "no model m.*correct --endpoint, --model"),
    (failed(307, location="http://example.org/v1/chat/completions"), InputError, "refuses the request"),
    (Reply(data=b"{\"choices\": [{"), RadisimError, "no chat completion; see that --endpoint"),
    (Reply(data=b"[1, 2]"), RadisimError, "no chat completion"),
    (Reply(data=b"{\"choices\": []}"), RadisimError, "no chat completion"),
    (Reply(data=b"{\"choices\": [{\"message\": null}]}"), RadisimError, "no chat completion"),
    (Reply(data=b"<html>", headers={"Content-Type": "text/html"}), RadisimError, "no chat completion"),
])
def test_what_it_says_again_and_again_ends_in_words(slept: list[float], reply: Reply, error: type[Exception], message: str) -> None:
    with Stub() as stub, pytest.raises(error, match=message) as told:
        asked(stub, [reply])
    assert SECRET not in str(told.value)


def test_an_answer_that_is_no_completion_is_asked_for_again(slept: list[float]) -> None:
    with Stub() as stub:
        assert asked(stub, [Reply(data=b"{"), Reply(data=b"<html>", headers={"Content-Type": "text/html"}), said("A CT.")]) == GOOD


@pytest.mark.parametrize("answer", [said(None), said(""), said("  \n")])
def test_a_model_that_says_nothing_has_answered(slept: list[float], answer: Reply) -> None:
    with Stub() as stub:
        assert asked(stub, [answer]).text == ""


def test_one_that_does_not_answer_or_is_not_there_ends_in_words() -> None:
    waiting = threading.Event()

    def late(body: Body, n: int) -> Reply:
        waiting.wait(60)
        return said("A CT.")

    with Stub(late) as stub:
        with pytest.raises(RadisimError, match="did not answer in time; start the same command again"):
            Endpoint(stub.url, per_minute=1e9, timeout=0.05, retries=0).ask(BODY)
        waiting.set()
    with pytest.raises(RadisimError, match=r"127\.0\.0\.1: cannot be reached"):
        Endpoint(stub.url, per_minute=1e9, retries=0).ask(BODY)


def test_no_proxy_stands_between_this_machine_and_itself(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub() as proxy, Stub() as stub:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        assert asked(stub, [said("A CT.")]) == GOOD
    assert proxy.bodies == []


def test_every_request_waits_for_its_turn_those_that_are_sent_again_too(slept: list[float]) -> None:
    with Stub(lambda body, n: failed(500, retry_after="1") if n == 0 else said("A CT.")) as stub:
        Endpoint(stub.url, per_minute=0.1).ask(BODY)
    assert [round(s) for s in slept] == [1, 600]


def test_a_pace_of_thirty_a_minute_is_one_in_two_seconds() -> None:
    now, waits = [100.0], list[float]()
    pace = Pace(30, lambda: now[0], waits.append)
    pace()
    pace()
    now[0] += 1
    pace()
    now[0] += 60
    pace()
    assert waits == [2, 3]


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match=r"pip install 'radisim-cl\[endpoint\]'"):
        Endpoint("http://localhost/v1", 60)


@pytest.mark.parametrize(("url", "local"), [
    ("http://localhost:8000/v1", True), ("http://127.0.0.1/v1", True), ("http://127.9.9.9:1/v1", True), ("http://[::1]:8000/v1", True),
    ("https://api.example.org/v1", False), ("http://localhost.example.org/v1", False), ("http://10.0.0.7:8000/v1", False),
    ("http://0.0.0.0:8000/v1", False), ("http://[fe80::1]/v1", False), ("HTTP://LOCALHOST:8000/v1", True), ("http://127.0.0.1.example.org", False),
])
def test_this_machine_is_known_by_name_or_number(url: str, local: bool) -> None:
    assert is_local(host_of(url)) == local


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://localhost/v1", "http://", "http://[::1", "http://localhost:x/v1",
                                 f"http://me:{SECRET}@localhost/v1", f"http://localhost@example.org/{SECRET}", f"http://localhost/v1?key={SECRET}"])
def test_what_is_no_url_or_holds_a_secret_is_refused_without_saying_it(url: str) -> None:
    with pytest.raises(InputError, match="--endpoint: ") as told:
        host_of(url)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(("card", "licences", "host", "message"), [
    ({"agreement": "Stanford's"}, ["CC0"], "api.example.org", r"under an agreement \(Stanford's\).*serve a model here"),
    ({"agreement": "Stanford's"}, [""], "localhost", ""),
    ({"name": "c"}, ["", "research"], "api.example.org", ""),
    ({}, ["CC0", "CC BY 4.0", "Creative Commons", "public domain", "CC-BY-NC"], "api.example.org", ""),
    ({}, ["CC0", ""], "api.example.org", r"no card\.yaml.*\(none\)"),
    ({}, ["CC0", "research use only"], "api.example.org", r"\(research use only\)"),
    ({}, ["not CC0"], "api.example.org", r"\(not CC0\)"),
    ({}, [""], "127.0.0.1", ""),
])
def test_what_may_leave(card: dict[str, object], licences: list[str], host: str, message: str) -> None:
    if not message:
        may_leave("c", card, licences, host)
        return
    with pytest.raises(InputError, match=message):
        may_leave("c", card, licences, host)
