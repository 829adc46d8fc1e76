"""What a job may end with; each error carries its exit status and one line for the person reading."""


class SeqloomError(Exception):
    """An expected failure: the job prints the message as one line, without a traceback."""

    exit_status = 1


class ConfigError(SeqloomError):
    """A wrong argument or configuration."""

    exit_status = 2


class SourceError(SeqloomError):
    """Input that cannot be read as configured."""

    exit_status = 2


class WarehouseError(SeqloomError):
    """A warehouse that cannot be written, or that was built with another configuration."""

    exit_status = 2


class GateError(SeqloomError):
    """A quality gate failed; nothing was published."""

    exit_status = 3


class LockedError(SeqloomError):
    """Another run holds the warehouse's lock."""

    exit_status = 4
