"""Receives the bytes of a link: to the store's own disk first, into the store only if they are the announced ones."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from anyio import to_thread

from api.problems import ApiError
from core.storage import LocalStore, ObjectExistsError

_FLUSH_BYTES = 1 << 20


async def receive(store: LocalStore, key: str, limits: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
    """Store the whole object, or one part of it, as the link's limits say.

    Raises:
        ApiError: `upload_size_mismatch`, `upload_hash_mismatch`; nothing was stored, the bytes can be sent again.
        ObjectMissingError: the upload in parts was aborted, or joined.
    """
    incoming = store.incoming()
    try:
        digest = await _write(incoming, int(limits["size"]), chunks)
        if "part" in limits:
            await to_thread.run_sync(store.keep_part, key, limits["upload"], int(limits["part"]), incoming)
            return
        if digest != limits["sha256"]:
            raise ApiError(
                "upload_hash_mismatch", "The bytes do not have the announced sha256.", "Send the file again, unchanged."
            )
        with contextlib.suppress(ObjectExistsError):  # sent twice: the link names the hash, so the bytes are the same
            await to_thread.run_sync(store.put, key, incoming)
    finally:
        incoming.unlink(missing_ok=True)


async def _write(path: Path, announced: int, chunks: AsyncIterator[bytes]) -> str:
    digest, size, waiting = hashlib.sha256(), 0, bytearray()
    with path.open("xb") as file:

        def flush(block: bytes) -> None:
            digest.update(block)
            file.write(block)

        async for chunk in chunks:
            size += len(chunk)
            if size > announced:
                raise _wrong_size(announced, f"more than {announced}")
            waiting += chunk
            if len(waiting) >= _FLUSH_BYTES:
                await to_thread.run_sync(flush, bytes(waiting))
                waiting.clear()
        flush(bytes(waiting))
    if size != announced:
        raise _wrong_size(announced, str(size))
    return digest.hexdigest()


def _wrong_size(announced: int, got: str) -> ApiError:
    return ApiError(
        "upload_size_mismatch", f"{announced} bytes were announced, {got} came.", "Send all of the bytes again."
    )
