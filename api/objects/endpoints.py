"""`/objects`: where the links of a local store lead. A link carries its own permission, so no API key is asked for.

With an S3 store these links do not exist: its own server is called instead. They are not part of the documented API:
callers use the links that they are given, unread.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from api.deps import Platform, PlatformDep
from api.objects import service
from api.problems import NotFoundError
from core.storage import LocalStore, ObjectMissingError
from core.storage.protocol import is_key

router = APIRouter(prefix="/objects", include_in_schema=False)
Key = Annotated[str, Path()]


@router.put("/{key:path}")
async def put_object(key: Key, request: Request, platform: PlatformDep) -> Response:
    """Store the bytes, if they are the ones that the link names."""
    store = _local(platform, key)
    limits = store.links.check("PUT", key, request.query_params)
    await service.receive(store, key, limits, request.stream())
    return Response(status_code=200)


@router.get("/{key:path}")
def get_object(key: Key, request: Request, platform: PlatformDep) -> FileResponse:
    """The object as a download, with its sha256 as the ETag."""
    store = _local(platform, key)
    limits = store.links.check("GET", key, request.query_params)
    path = store.local_path(key)
    if path is None:
        raise ObjectMissingError(key)
    headers = {"ETag": f'"{store.stat(key).sha256}"', "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=limits["content_type"], filename=limits["filename"], headers=headers)


def _local(platform: Platform, key: str) -> LocalStore:
    if not isinstance(platform.store, LocalStore) or not is_key(key):
        raise NotFoundError("object")
    return platform.store
