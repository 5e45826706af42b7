"""Which object store the settings ask for: a bucket where one is named, else a folder of the data folder."""

from __future__ import annotations

from core.settings import Settings
from core.storage.local import LocalStore
from core.storage.protocol import ObjectStore
from core.storage.signed_links import LinkSigner


def open_store(settings: Settings, secret_key: str = "", patience_s: float | None = None) -> ObjectStore:
    """The platform's store.

    Args:
        settings: the platform's.
        secret_key: signs the links of a local store; only who answers callers needs it.
        patience_s: how long a call to a server is tried; None: as long as the settings say.
    """
    if not settings.s3_bucket:
        return LocalStore(settings.objects_dir, LinkSigner(secret_key) if secret_key else None)
    from core.storage.s3 import S3Store  # half a second to import

    return S3Store(settings, settings.storage_patience_seconds if patience_s is None else patience_s)
