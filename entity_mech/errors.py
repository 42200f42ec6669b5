"""What a user can be told."""


class UserError(Exception):
    """A mistake in the input: the message says what was wrong, where, and what is allowed."""
