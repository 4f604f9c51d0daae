"""What was spent and what requests under way may still cost: no request is sent that could pass the ceiling."""

import threading

from p2d_lib.llm.errors import CeilingError
from p2d_lib.llm.request import Request

MARGIN = 1.1  # on the expected input tokens, once replies have shown how the server counts them


class Purse:
    """An account that threads share. price_in, price_out: USD per million tokens; max_cost, spent: USD."""

    def __init__(self, price_in: float, price_out: float, max_cost: float | None, spent: float):
        self.price_in, self.price_out, self.max_cost, self.spent = price_in, price_out, max_cost, spent
        self._held, self._under_way = 0.0, 0
        self._ratio: dict[bool, float] = {}  # with and without an image: the largest counted / expected tokens
        self._changed = threading.Condition()

    def price(self, n_in: float, n_out: float) -> float:
        """USD for so many tokens."""
        return (n_in * self.price_in + n_out * self.price_out) / 1e6

    def hold(self, request: Request, max_tokens: int) -> float:
        """Reserves the most that a request can cost, and returns it (USD); waits while those under way may free some.

        The first request of a kind goes alone: its reply shows how the server counts. Raises CeilingError where the
        request could pass max_cost even after all others have been paid.
        """
        with self._changed:
            while True:
                factor = MARGIN * self._ratio[request.has_image] if request.has_image in self._ratio else 1.0
                worst = self.price(request.max_input_tokens * factor, max_tokens)
                known = self.max_cost is None or request.has_image in self._ratio
                fits = self.max_cost is None or self.spent + self._held + worst <= self.max_cost
                if fits and (known or not self._under_way):
                    self._held, self._under_way = self._held + worst, self._under_way + 1
                    return worst
                if not self._under_way:
                    raise CeilingError(
                        f"stopped at {self.spent:.6g} USD spent: the next request may cost {worst:.2g} USD and pass "
                        f"max_cost = {self.max_cost:g} USD. Raise max_cost and run again: what was paid for is kept "
                        "and not asked again"
                    )
                self._changed.wait()

    def settle(self, request: Request, held: float, cost: float, counted: int | None) -> None:
        """Books what a request has cost (USD) in place of what was held; counted: its input tokens, if known."""
        with self._changed:
            self._held, self._under_way, self.spent = self._held - held, self._under_way - 1, self.spent + cost
            if counted:
                most = self._ratio.get(request.has_image, 0.0)
                self._ratio[request.has_image] = max(most, counted / request.max_input_tokens)
            self._changed.notify_all()
