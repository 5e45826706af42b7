"""Alembic migrations of the platform's database; `core.jobs.database.Database.migrate` runs them."""
