"""The rest of `likeness client`: consents, webhooks and usage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.connected import add_command, upload
from likeness_client import Client, Consent

ConsentArgument = Annotated[str, typer.Argument(help="A consent's id.")]
EndpointArgument = Annotated[str, typer.Argument(help="A webhook endpoint's id.")]
ReasonOption = Annotated[str, typer.Option(help="Kept with it.")]


def register(client: typer.Typer) -> None:
    """Add the commands to `likeness client`."""
    consent = typer.Typer(no_args_is_help=True, help="Consents: nothing is made of a person without one.")
    consents: tuple[tuple[str, Callable[..., Any], str], ...] = (
        ("create", create, 'client consent create "Ada L." --purpose "greeting videos"'),
        ("show", show_one, "client consent show con_..."),
        ("list", show_all, "client consent list"),
        ("evidence", evidence, "client consent evidence con_... recording.mp4"),
        ("challenge", challenge, "client consent challenge con_..."),
        ("verify", verify, 'client consent verify con_... --reason "seen and heard"'),
        ("reject", reject, 'client consent reject con_... --reason "another person"'),
        ("revoke", revoke, "client consent revoke con_..."),
    )
    for name, function, example in consents:
        add_command(consent, name, function, example)
    client.add_typer(consent, name="consent")
    webhook = typer.Typer(no_args_is_help=True, help="Webhooks: where job events are sent to.")
    commands: tuple[tuple[str, Callable[..., Any], str], ...] = (
        ("create", create_webhook, "client webhook create https://example.com/hook --event job.succeeded"),
        ("list", list_webhooks, "client webhook list"),
        ("test", test_webhook, "client webhook test whe_..."),
        ("rotate", rotate, "client webhook rotate whe_..."),
        ("enable", enable, "client webhook enable whe_..."),
        ("delete", delete_webhook, "client webhook delete whe_..."),
        ("deliveries", deliveries, "client webhook deliveries --endpoint whe_..."),
        ("redeliver", redeliver, "client webhook redeliver dlv_..."),
    )
    for name, function, example in commands:
        add_command(webhook, name, function, example)
    client.add_typer(webhook, name="webhook")
    add_command(client, "usage", usage, "client usage --json")


def create(
    client: Client,
    subject: Annotated[str, typer.Argument(help="Who agrees.")],
    purpose: Annotated[str, typer.Option(help="What the avatar is for.")],
    attested: Annotated[bool, typer.Option("--attested", help="They agreed, or it is you.")] = False,
    days: Annotated[float | None, typer.Option(min=0.01, help="It ends after so many days.")] = None,
) -> Any:
    """Record a consent; it shows the phrase that the person is to say where evidence is needed."""
    lifetime = days * 86400 if days is not None else None
    return _short(client.create_consent(subject, purpose, attested=attested, expires_in_s=lifetime))


def show_one(client: Client, consent: ConsentArgument) -> Any:
    """Show a consent and what was made under it."""
    return dict(client.consent(consent).raw)


def show_all(client: Client) -> Any:
    """List consents, newest first."""
    return [_short(one) for one in client.consents()]


def evidence(
    client: Client,
    consent: ConsentArgument,
    recording: Annotated[Path, typer.Argument(help="The person says the statement and the phrase.")],
) -> Any:
    """Send the recording of a consent."""
    return _short(client.add_evidence(consent, upload(client, recording)))


def challenge(client: Client, consent: ConsentArgument) -> Any:
    """Draw a new phrase: one is good for half an hour."""
    return _short(client.new_challenge(consent))


def verify(client: Client, consent: ConsentArgument, reason: ReasonOption = "") -> Any:
    """Accept the evidence; the key needs the scope `review`."""
    return _short(client.decide_consent(consent, verified=True, reason=reason))


def reject(client: Client, consent: ConsentArgument, reason: ReasonOption = "") -> Any:
    """Refuse the evidence; the key needs the scope `review`."""
    return _short(client.decide_consent(consent, verified=False, reason=reason))


def revoke(client: Client, consent: ConsentArgument, reason: ReasonOption = "") -> Any:
    """Take a consent back: jobs stop, bundles and videos are removed for good."""
    return dict(client.revoke_consent(consent, reason).raw)


def create_webhook(
    client: Client,
    url: Annotated[str, typer.Argument(help="https, a public host.")],
    event: Annotated[list[str] | None, typer.Option(help="A type to send; can be repeated. All by default.")] = None,
) -> Any:
    """Have job events sent to a URL. The secret that it prints is not shown again."""
    return dict(client.create_webhook(url, event or ()).raw)


def list_webhooks(client: Client) -> Any:
    """List webhook endpoints."""
    return [dict(one.raw) for one in client.webhooks()]


def test_webhook(client: Client, endpoint: EndpointArgument) -> Any:
    """Send a test message."""
    return dict(client.test_webhook(endpoint).raw)


def rotate(client: Client, endpoint: EndpointArgument) -> Any:
    """Give an endpoint a new secret; for a day messages are signed with both."""
    return dict(client.rotate_webhook(endpoint).raw)


def enable(client: Client, endpoint: EndpointArgument) -> Any:
    """Enable an endpoint that was disabled because it failed."""
    return dict(client.change_webhook(endpoint, enabled=True).raw)


def delete_webhook(client: Client, endpoint: EndpointArgument) -> Any:
    """Delete an endpoint and its messages."""
    client.delete_webhook(endpoint)
    return {"deleted": endpoint}


def deliveries(
    client: Client,
    endpoint: Annotated[str | None, typer.Option(help="Only messages to this endpoint.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
) -> Any:
    """List messages, newest first."""
    found = []
    for one in client.deliveries(endpoint):
        found.append({"delivery": one.id, "type": one.type, "state": one.state, "attempts": len(one.attempts)})
        if len(found) == limit:
            break
    return found


def redeliver(client: Client, delivery: Annotated[str, typer.Argument(help="A message's id.")]) -> Any:
    """Send a message again."""
    return dict(client.redeliver(delivery).raw)


def usage(client: Client) -> Any:
    """Show what was used in the last 30 days, and the quotas."""
    return client.usage()


def _short(consent: Consent) -> dict[str, Any]:
    return {"consent": consent.id, "subject": consent.subject, "state": consent.state, "phrase": consent.phrase}
