"""Where artefacts lie: one protocol, with a local folder or an S3 bucket behind it."""

from core.storage.choice import open_store
from core.storage.local import LocalStore
from core.storage.protocol import (
    DamagedObjectError,
    ListedObject,
    ObjectExistsError,
    ObjectMissingError,
    ObjectStore,
    StorageRefusedError,
    StorageUnavailableError,
    StoredObject,
    Target,
    check_key,
)

__all__ = [
    "DamagedObjectError",
    "ListedObject",
    "LocalStore",
    "ObjectExistsError",
    "ObjectMissingError",
    "ObjectStore",
    "StorageRefusedError",
    "StorageUnavailableError",
    "StoredObject",
    "Target",
    "check_key",
    "open_store",
]
