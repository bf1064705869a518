"""The exceptions that end `python -m harness` with one line on stderr and without a traceback."""


class UserError(Exception):
    """Bad input. The message names the file or key, the value, and what to do, on one line; exit status 2."""


class Stopped(Exception):
    """A signal asked the run to stop, and what it had is on disk; exit status 128 + `signal`."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
