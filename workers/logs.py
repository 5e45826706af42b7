"""Logs of the platform's processes: one JSON object a line, with the ids of the job, tenant and request it belongs to.

The embedded form prints the same for people.
"""

from __future__ import annotations

import logging
from typing import TextIO

import structlog


def configure_logs(stream: TextIO, level: int = logging.INFO, *, for_people: bool = False) -> None:
    """Send structlog's and the standard library's records of this process to `stream`, as JSON or `for_people`."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(stream)
    render: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if for_people:
        render.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
    else:
        render += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=render))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("celery", "kombu", "amqp", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
