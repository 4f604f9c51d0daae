"""Errors that stop the work with a language model until a person has solved the problem."""


class ApiError(Exception):
    """A wrong key or address, a missing permission, a server that stays down; the message says what to do."""


class CeilingError(ApiError):
    """The next request might pass max_cost; it was not sent."""
