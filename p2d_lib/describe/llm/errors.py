"""What stops the work with a language model until a person has seen to it."""


class ApiError(Exception):
    """A wrong key or address, a missing permission, a server that stays down; the message says what to do."""


class CeilingError(ApiError):
    """The next request might cost more than max_cost leaves; it was not sent."""
