"""`/webhook-endpoints` and `/deliveries`: where job events go, and what became of each message."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from api.deps import Cursor, IdempotencyKey, Identifier, Limit, PlatformDep, TenantDep, WebhooksCaller, create_once
from api.pagination import Page, read_page
from api.problems import FOUND, KEYED, problems
from api.webhooks import service
from api.webhooks.schemas import DeliveryOut, EndpointChange, EndpointCreate, EndpointOut, EndpointWithSecret
from core.jobs.idempotency import Answer
from core.webhooks import record
from core.webhooks.tables import WebhookDelivery, WebhookEndpoint

router = APIRouter(tags=["webhooks"])


@router.post(
    "/webhook-endpoints", status_code=201, response_model=EndpointWithSecret, responses={**KEYED, **problems(409)}
)
def create_endpoint(
    body: EndpointCreate, platform: PlatformDep, caller: WebhooksCaller, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Have messages sent to a URL. The answer shows the secret that signs them."""

    def create(session: Session) -> Answer:
        endpoint = service.create(session, platform, caller.tenant, body)
        caller.audit(session, "webhook_endpoint.created", endpoint.id, url=body.url)
        # Kept for repetitions without the secret: that follows from the salt.
        return Answer(201, {"salt": endpoint.salt, **service.describe(endpoint).model_dump(mode="json")})

    def shown(kept: dict[str, Any]) -> dict[str, Any]:
        told = {name: value for name, value in kept.items() if name != "salt"}
        return {**told, "secret": service.secret_of(platform, kept["id"], kept["salt"])}

    return create_once(platform, caller.tenant, "POST /webhook-endpoints", idempotency_key, body, create, shown)


@router.get("/webhook-endpoints", responses=KEYED)
def list_endpoints(
    platform: PlatformDep, tenant: TenantDep, limit: Limit = 20, cursor: Cursor = None
) -> Page[EndpointOut]:
    """The tenant's endpoints, newest first."""
    mine = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == tenant)
    with platform.database.read() as session:
        rows, following = read_page(session, mine, WebhookEndpoint.id, limit, cursor)
        return Page(items=[service.describe(row) for row in rows], next_cursor=following)


@router.get("/webhook-endpoints/{endpoint_id}", responses=FOUND)
def get_endpoint(endpoint_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> EndpointOut:
    """One endpoint."""
    with platform.database.read() as session:
        return service.describe(service.find(session, tenant, endpoint_id))


@router.patch("/webhook-endpoints/{endpoint_id}", responses=FOUND)
def change_endpoint(
    endpoint_id: Identifier, body: EndpointChange, platform: PlatformDep, caller: WebhooksCaller
) -> EndpointOut:
    """Change an endpoint, disable it, or enable it again."""
    with platform.database.write() as session:
        endpoint = service.find(session, caller.tenant, endpoint_id)
        service.change(session, platform, endpoint, body)
        answer = service.describe(endpoint)
        caller.audit(session, "webhook_endpoint.changed", endpoint_id)
        return answer


@router.delete("/webhook-endpoints/{endpoint_id}", status_code=204, responses=FOUND)
def delete_endpoint(endpoint_id: Identifier, platform: PlatformDep, caller: WebhooksCaller) -> Response:
    """Delete an endpoint and its deliveries."""
    with platform.database.write() as session:
        endpoint = service.find(session, caller.tenant, endpoint_id)
        session.execute(delete(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id))
        session.delete(endpoint)
        session.flush()
        caller.audit(session, "webhook_endpoint.deleted", endpoint_id)
    return Response(status_code=204)


@router.post("/webhook-endpoints/{endpoint_id}/rotate", responses=FOUND)
def rotate_secret(endpoint_id: Identifier, platform: PlatformDep, caller: WebhooksCaller) -> EndpointWithSecret:
    """Give the endpoint a new secret. For a day messages are signed with both."""
    with platform.database.write() as session:
        endpoint = service.find(session, caller.tenant, endpoint_id)
        service.rotate(session, endpoint)
        secret = service.secret_of(platform, endpoint.id, endpoint.salt)
        answer = EndpointWithSecret(**service.describe(endpoint).model_dump(), secret=secret)
        caller.audit(session, "webhook_endpoint.rotated", endpoint_id)
        return answer


@router.post("/webhook-endpoints/{endpoint_id}/test", status_code=202, responses=FOUND)
def send_test(endpoint_id: Identifier, platform: PlatformDep, caller: WebhooksCaller) -> DeliveryOut:
    """Send a message of type `webhook.test`, whatever the endpoint's filter says."""
    with platform.database.write() as session:
        endpoint = service.find(session, caller.tenant, endpoint_id)
        delivery = record.add(session, endpoint, record.TEST_EVENT, {"endpoint": endpoint.id})
        return service.describe_delivery(delivery)


@router.get("/deliveries", responses=KEYED)
def list_deliveries(
    platform: PlatformDep,
    tenant: TenantDep,
    limit: Limit = 20,
    cursor: Cursor = None,
    endpoint: Annotated[str | None, Query(max_length=48, pattern=r"^[a-z]+_[0-9a-f]{32}$")] = None,
    state: Annotated[Literal["pending", "delivered", "failed"] | None, Query()] = None,
) -> Page[DeliveryOut]:
    """The log of messages, newest first."""
    mine = select(WebhookDelivery).where(WebhookDelivery.tenant_id == tenant)
    if endpoint is not None:
        mine = mine.where(WebhookDelivery.endpoint_id == endpoint)
    if state is not None:
        mine = mine.where(WebhookDelivery.state == state)
    with platform.database.read() as session:
        rows, following = read_page(session, mine, WebhookDelivery.id, limit, cursor)
        return Page(items=[service.describe_delivery(row) for row in rows], next_cursor=following)


@router.get("/deliveries/{delivery_id}", responses=FOUND)
def get_delivery(delivery_id: Identifier, platform: PlatformDep, tenant: TenantDep) -> DeliveryOut:
    """One message, with its attempts."""
    with platform.database.read() as session:
        return service.describe_delivery(service.find_delivery(session, tenant, delivery_id))


@router.post("/deliveries/{delivery_id}/redeliver", status_code=202, responses=FOUND)
def redeliver(delivery_id: Identifier, platform: PlatformDep, caller: WebhooksCaller) -> DeliveryOut:
    """Send a message again, under the same `webhook-id`. A disabled endpoint gets it once it is enabled."""
    with platform.database.write() as session:
        delivery = service.find_delivery(session, caller.tenant, delivery_id)
        service.send_again(session, delivery)
        return service.describe_delivery(delivery)
