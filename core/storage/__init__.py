"""Where artefacts lie: one protocol, a local folder behind it (S3 behind the same protocol is issue 7)."""

from core.storage.local import LocalStore
from core.storage.protocol import ObjectExistsError, ObjectMissingError, ObjectStore, StoredObject, check_key

__all__ = ["LocalStore", "ObjectExistsError", "ObjectMissingError", "ObjectStore", "StoredObject", "check_key"]
