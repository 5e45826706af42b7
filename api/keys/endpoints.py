"""`/keys`: the tenant's API keys. All of them want a key with the scope `admin`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import select

from api.deps import AdminCaller, Cursor, Identifier, Limit, PlatformDep
from api.keys.schemas import KeyCreate, KeyCreated, KeyOut
from api.pagination import Page, read_page
from api.problems import FOUND, KEYED, ApiError, NotFoundError, problems
from core.accounts.keys import make_key, revoke_key
from core.accounts.tables import ApiKey

router = APIRouter(prefix="/keys", tags=["keys"])


@router.post("", status_code=201, responses=KEYED)
def create_key(body: KeyCreate, platform: PlatformDep, caller: AdminCaller) -> KeyCreated:
    """Make a key. No Idempotency-Key here: a kept answer would keep the key itself."""
    with platform.database.write() as session:
        row, key = make_key(
            session,
            caller.tenant,
            platform.secret_key,
            name=body.name,
            scopes=body.scopes,
            lifetime_s=body.expires_in_s,
        )
        answer = KeyCreated(**_described(row), key=key)
        caller.audit(session, "key.created", row.id, scopes=row.scopes)
    return answer


@router.get("", responses=KEYED)
def list_keys(platform: PlatformDep, caller: AdminCaller, limit: Limit = 20, cursor: Cursor = None) -> Page[KeyOut]:
    """The tenant's keys, revoked and expired ones, too."""
    mine = select(ApiKey).where(ApiKey.tenant_id == caller.tenant)
    with platform.database.read() as session:
        rows, following = read_page(session, mine, ApiKey.id, limit, cursor)
        return Page(items=[KeyOut(**_described(row)) for row in rows], next_cursor=following)


@router.delete("/{key_id}", status_code=204, responses={**FOUND, **problems(409)})
def delete_key(key_id: Identifier, platform: PlatformDep, caller: AdminCaller) -> Response:
    """Revoke a key. Other API processes may take it for some seconds more (`LIKENESS_KEY_CACHE_SECONDS`)."""
    if key_id == caller.key_id:
        raise ApiError("key_is_yours", "A key can't revoke itself.", "Use another key of the tenant.")
    with platform.database.write() as session:
        if not revoke_key(session, caller.tenant, key_id):
            raise NotFoundError("key")
        caller.audit(session, "key.revoked", key_id)
    platform.keys.forget(key_id)
    return Response(status_code=204)


def _described(row: ApiKey) -> dict[str, Any]:
    return {name: getattr(row, name) for name in KeyOut.model_fields}
