"""Sends a caller who may have an object of the store to a link from which it comes."""

from __future__ import annotations

from typing import Any

from fastapi.responses import RedirectResponse

from api.deps import Platform

REDIRECT: dict[int | str, dict[str, Any]] = {
    307: {"description": "The file is at `Location`, for a few minutes; that link needs no key."}
}
"""How an endpoint that calls `send_file` documents its answer."""


def send_file(platform: Platform, key: str, filename: str, media_type: str) -> RedirectResponse:
    """A redirect to the object, as a download called `filename`. It may be gone by then: the link answers so."""
    url = platform.store.get_url(key, filename, media_type, platform.settings.link_seconds)
    return RedirectResponse(url, status_code=307, headers={"Cache-Control": "no-store"})
