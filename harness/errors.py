"""The one exception that a user's mistake raises: `python -m harness` prints it as one line and exits with 2."""


class UserError(Exception):
    """Bad input. The message names the file or key, the value, and what to do, on one line."""
