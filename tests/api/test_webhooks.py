"""Webhooks: written with their event, signed, sent to public hosts only, tried again, given up.

The receiver is a local HTTP server in this file: the one thing here that stands for someone else's.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core.webhooks.addresses import Destination, WebhookRefusedError, is_public, parse, resolve
from core.webhooks.deliver import PAUSES_SECONDS, deliver_once, forget_old
from core.webhooks.post import ANSWER_BYTES, post
from core.webhooks.tables import WebhookDelivery, WebhookEndpoint
from likeness_client import WebhookVerificationError, verify_webhook


class Receiver(ThreadingHTTPServer):
    """Someone's webhook host: keeps what it gets, and answers as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        """For the next messages; 204 when there is none left."""
        self.answer = b""
        self.drip = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?x=1"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url)
        self.end_headers()
        if self.server.drip:
            for _ in range(200):
                self.wfile.write(b".")
                time.sleep(0.05)
        self.wfile.write(self.server.answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def hooked(api: Any, receiver: Receiver) -> dict[str, Any]:
    """An endpoint at the receiver, as an operator with `webhook_allow_private` could have made it."""
    made = api.http.post("/v1/webhook-endpoints", json={"url": "https://example.com/hook"}).json()
    with api.platform.database.write() as session:
        session.execute(update(WebhookEndpoint).values(url=receiver.url))
    return dict(made)


def deliver(api: Any, **more: Any) -> int:
    return deliver_once(api.platform.database, api.platform.secret_key, allow_private=True, timeout_s=5, **more)


def make_due(api: Any) -> None:
    with api.platform.database.write() as session:
        session.execute(update(WebhookDelivery).values(next_at=0.0))


def test_a_finished_job_is_told_and_the_message_is_signed(
    api: Any, receiver: Receiver, hooked: dict[str, Any], tmp_path: Path
) -> None:
    api.http.patch(f"/v1/webhook-endpoints/{hooked['id']}", json={"events": ["job.succeeded", "job.failed"]})
    made = api.identity()
    api.run(tmp_path)
    assert deliver(api) == 1
    (headers, body), *others = receiver.got
    assert others == []
    told = verify_webhook(hooked["secret"], headers, body)
    assert told["type"] == "job.succeeded"
    assert (told["data"]["job"], told["data"]["state"]) == (made["job"]["id"], "succeeded")
    log = api.http.get("/v1/deliveries").json()["items"]
    assert [(one["id"], one["state"]) for one in log] == [(headers["webhook-id"], "delivered")]
    assert [one["status"] for one in log[0]["attempts"]] == [204]
    assert deliver(api) == 0


def test_a_forged_or_old_message_is_not_believed(api: Any, receiver: Receiver, hooked: dict[str, Any]) -> None:
    api.http.post(f"/v1/webhook-endpoints/{hooked['id']}/test")
    deliver(api)
    ((headers, body),) = receiver.got
    sent = float(headers["webhook-timestamp"])
    for wrong in (
        lambda: verify_webhook(hooked["secret"], headers, body + b" "),
        lambda: verify_webhook(hooked["secret"], {**headers, "webhook-id": "dlv_1"}, body),
        lambda: verify_webhook("whsec_" + "A" * 44, headers, body),
        lambda: verify_webhook(hooked["secret"], {}, body),
        lambda: verify_webhook(hooked["secret"], headers, body, now=sent + 301),
    ):
        with pytest.raises(WebhookVerificationError):
            wrong()
    assert verify_webhook(hooked["secret"], headers, body, now=sent + 299)["type"] == "webhook.test"


def test_another_tenants_events_go_nowhere(api: Any, stranger: Any, receiver: Receiver, hooked: dict[str, Any]) -> None:
    stranger.identity()
    assert deliver(api) == 0
    assert receiver.got == []


def test_after_a_rotation_both_secrets_hold(api: Any, receiver: Receiver, hooked: dict[str, Any]) -> None:
    fresh = api.http.post(f"/v1/webhook-endpoints/{hooked['id']}/rotate").json()
    assert fresh["secret"] != hooked["secret"]
    api.http.post(f"/v1/webhook-endpoints/{hooked['id']}/test")
    deliver(api)
    ((headers, body),) = receiver.got
    for secret in (fresh["secret"], hooked["secret"]):
        assert verify_webhook(secret, headers, body)["type"] == "webhook.test"


def test_a_secret_is_shown_again_only_to_the_same_creation(api: Any) -> None:
    body, headers = {"url": "https://example.com/hook"}, {"Idempotency-Key": "hook"}
    first, again = (api.http.post("/v1/webhook-endpoints", json=body, headers=headers).json() for _ in range(2))
    assert first == again
    assert first["secret"].startswith("whsec_")
    assert "secret" not in api.http.get(f"/v1/webhook-endpoints/{first['id']}").json()


def test_a_receiver_that_is_down_gets_the_same_message_later(
    api: Any, receiver: Receiver, hooked: dict[str, Any]
) -> None:
    sent = api.http.post(f"/v1/webhook-endpoints/{hooked['id']}/test").json()["id"]
    receiver.statuses = [500, 302]
    receiver.answer = b"x" * 100_000
    for _ in range(2):
        assert deliver(api) == 0
        assert deliver(api) == 0  # not due yet
        make_due(api)
    assert deliver(api) == 1
    assert len(receiver.got) == 3  # the redirect was not followed
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {sent}
    log = api.http.get(f"/v1/deliveries/{sent}").json()
    assert [one["status"] for one in log["attempts"]] == [500, 302, 204]
    assert all(len(one["answer"]) <= ANSWER_BYTES for one in log["attempts"])
    again = api.http.post(f"/v1/deliveries/{sent}/redeliver").json()
    assert again["state"] == "pending"
    assert deliver(api) == 1


def test_what_fails_for_a_day_is_given_up_and_its_endpoint_disabled(
    api: Any, receiver: Receiver, hooked: dict[str, Any]
) -> None:
    assert 80_000 < sum(PAUSES_SECONDS) < 100_000
    sent = api.http.post(f"/v1/webhook-endpoints/{hooked['id']}/test").json()["id"]
    receiver.statuses = [503] * 3
    for _ in range(3):
        deliver(api, pauses_s=(0.0, 0.0))
        make_due(api)
    assert api.http.get(f"/v1/deliveries/{sent}").json()["state"] == "failed"
    endpoint = api.http.get(f"/v1/webhook-endpoints/{hooked['id']}").json()
    assert (endpoint["enabled"], endpoint["disabled_reason"]) == (False, "A message failed 3 times.")
    api.identity()  # no message is written for it now
    assert deliver(api) == 0
    api.http.patch(f"/v1/webhook-endpoints/{hooked['id']}", json={"enabled": True})
    api.http.post(f"/v1/deliveries/{sent}/redeliver")
    assert deliver(api) == 1


def test_the_log_goes_back_a_month(api: Any, receiver: Receiver, hooked: dict[str, Any]) -> None:
    path = f"/v1/webhook-endpoints/{hooked['id']}/test"
    old, waiting = api.http.post(path).json()["id"], None
    deliver(api)
    waiting = api.http.post(path).json()["id"]
    with api.platform.database.write() as session:
        session.execute(update(WebhookDelivery).values(created_at=WebhookDelivery.created_at - 31 * 86400))
    fresh = api.http.post(path).json()["id"]
    forget_old(api.platform.database)
    left = {one["id"] for one in api.http.get("/v1/deliveries").json()["items"]}
    assert left == {waiting, fresh}
    assert old not in left


def test_a_receiver_that_is_gone_is_not_asked_again(api: Any, receiver: Receiver, hooked: dict[str, Any]) -> None:
    api.http.post(f"/v1/webhook-endpoints/{hooked['id']}/test")
    receiver.statuses = [410]
    deliver(api)
    assert not api.http.get(f"/v1/webhook-endpoints/{hooked['id']}").json()["enabled"]


def test_a_receiver_that_trickles_is_cut_off(receiver: Receiver) -> None:
    receiver.drip = True
    receiver.statuses = [200]
    outcome = post(receiver.url, {}, b"{}", timeout_s=0.5, allow_private=True)
    assert outcome.seconds < 5


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://user:pass@example.com/",
        "https://localhost/",
        "https://service.internal/",
        "https://127.0.0.1/",
        "https://2130706433.example.com.local/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://example.com:0/",
        "https:///nothing",
        "https://exa mple.com/",
        "https://exämple.com/",
        "not a url",
    ],
)
def test_urls_that_can_not_be_webhooks_are_refused(api: Any, refused: Any, url: str) -> None:
    answer = api.http.post("/v1/webhook-endpoints", json={"url": url})
    assert (answer.status_code, refused(answer)) == (422, "webhook_url_refused")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("64:ff9b::5db8:d822", True),
        ("2002:5db8:d822::1", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("192.0.0.170", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("2001:0:53aa:64c:0:0:0:1", False),
        ("2002:a00:1::1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::a00:1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver is the network's: here it answers as an attacker's would."""

    def answers(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ("93.184.216.34", "10.0.0.7")]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    with pytest.raises(WebhookRefusedError):
        resolve(Destination("https", "rebind.example", 443, "/"), allow_private=False)


def test_the_connection_goes_to_the_checked_address(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is resolved once: what it answers afterwards changes nothing."""
    asked: list[str] = []
    honest = socket.getaddrinfo

    def answers(host: str, port: int, *rest: Any, **more: Any) -> list[Any]:
        asked.append(str(host))
        return honest("127.0.0.1" if len(asked) == 1 else host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    url = f"http://hook.example:{receiver.server_port}/path?q=1"
    outcome = post(url, {"webhook-id": "1"}, json.dumps({}).encode(), timeout_s=5, allow_private=True)
    assert outcome.delivered
    assert asked == ["hook.example", "127.0.0.1"]
    assert receiver.got[0][0]["host"] == f"hook.example:{receiver.server_port}"
    assert parse(url, allow_private=True).target == "/path?q=1"
