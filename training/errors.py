"""What a training command may end with; each error carries its exit status and one line for a person."""


class TrainingError(Exception):
    """An expected failure: the command prints the message as one line, without a traceback."""

    exit_status = 1

    @property
    def line(self) -> str:
        """The message on one line."""
        return " ".join(str(self).split())


class ConfigError(TrainingError):
    """A wrong argument or configuration, or a run that was begun with another one."""

    exit_status = 2


class DataError(TrainingError):
    """Training data that cannot be read or does not hold what the config asks of it."""

    exit_status = 2


class TableError(DataError):
    """A table, or a version of it, that cannot be opened as what it should be."""


class RequestError(TrainingError):
    """A request to a served model that names its field and row, and what to give instead."""

    exit_status = 2


class RelayedError(TrainingError):
    """The first rank failed and says why; this one only ends."""
