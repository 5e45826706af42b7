"""Which addresses a webhook may go to: public ones. Everything else might be a service that trusts us (SSRF).

A name is resolved once, all its addresses are checked, and the connection goes to the checked address itself: a name
that answers differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.errors import LikenessError

_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".localdomain")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookRefusedError(LikenessError):
    """The URL may not be called (`webhook_url_refused`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "webhook_url_refused", f"This URL can't be a webhook: {reason}.", "Give an https URL of a public host."
        )


@dataclass(frozen=True)
class Destination:
    """A URL, taken apart."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def host_header(self) -> str:
        """The `Host` that the URL names."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return shown if self.port == usual else f"{shown}:{self.port}"


def parse(url: str, *, allow_private: bool) -> Destination:
    """Take a URL apart and refuse what can be seen to be wrong without asking the network.

    Raises:
        WebhookRefusedError: no https, credentials inside, not a host, or an address that is not public.
    """
    if not url.isascii() or any(sign <= " " or sign == "\x7f" for sign in url):
        raise WebhookRefusedError("it holds characters that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise WebhookRefusedError("it is malformed") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise WebhookRefusedError("it is not https")
    if parts.username is not None or parts.password is not None:
        raise WebhookRefusedError("it holds credentials")
    host = (parts.hostname or "").rstrip(".")
    if not host or len(host) > 253 or "%" in host or port == 0:
        raise WebhookRefusedError("it names no host")
    if not allow_private:
        _refuse_local(host)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), target)


def resolve(destination: Destination, *, allow_private: bool) -> str:
    """The address to connect to. One that is not public among them refuses all.

    Raises:
        WebhookRefusedError: an address is not public.
        OSError: the name can't be resolved.
    """
    found = socket.getaddrinfo(destination.host, destination.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private:
        for address in addresses:
            if not is_public(ipaddress.ip_address(address.split("%", 1)[0])):
                raise WebhookRefusedError("its host has an address that is not public")
    return addresses[0]


def is_public(address: Address) -> bool:
    """Whether the address, and any IPv4 address inside it, belongs to the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and int(address) < 2**32:  # the old IPv4-compatible form
            return False
        if address.teredo is not None or address.is_site_local:
            return False
        if inner is not None:
            return is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _refuse_local(host: str) -> None:
    name = host.lower()
    if name in _LOCAL_NAMES or name.endswith(_LOCAL_NAMES[1:]):
        raise WebhookRefusedError("its host is a local name")
    try:
        literal = ipaddress.ip_address(name)
    except ValueError:
        return
    if not is_public(literal):
        raise WebhookRefusedError("its address is not public")
