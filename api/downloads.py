"""Sends an object of the store to a caller who may have it."""

from __future__ import annotations

from fastapi.responses import FileResponse

from api.deps import Platform
from core.storage import ObjectMissingError


def send_file(platform: Platform, key: str, filename: str, media_type: str) -> FileResponse:
    """The object as a download, with its sha256 as the ETag.

    Raises:
        ObjectMissingError: the object was deleted.
    """
    path = platform.store.local_path(key)
    if path is None:
        raise ObjectMissingError(key)
    headers = {"ETag": f'"{platform.store.stat(key).sha256}"', "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=media_type, filename=filename, headers=headers)
