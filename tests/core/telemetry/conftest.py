"""A migrated database with a tenant, as the tests of jobs have it."""

from tests.core.jobs.conftest import database, migrated

__all__ = ["database", "migrated"]
