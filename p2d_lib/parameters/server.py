"""The parameters of a model behind an OpenAI-compatible server, which several notebooks take."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

ApiModel = Annotated[str, Field("", description="Model name at the OpenAI-compatible server of P2D_API_BASE_URL.")]
ApiAllowUpload = Annotated[bool, Field(False, description="Consent: without it no image leaves this machine.")]
ApiUsdPerMillion = Annotated[
    list[NonNegativeFloat],
    Field(
        [0.0, 0.0],
        min_length=2,
        max_length=2,
        description="Price of a million input tokens and of a million output tokens, USD.",
    ),
]
ApiMaxCost = Annotated[NonNegativeFloat, Field(0.0, description="Cost ceiling, USD; 0: no ceiling.")]
ApiConcurrency = Annotated[PositiveInt, Field(8, description="Requests in flight at once.")]
ApiMaxTokens = Annotated[
    PositiveInt,
    Field(1000, description="Longest reply, in tokens; a model that reasons first needs several thousand."),
]
ApiTimeout = Annotated[PositiveFloat, Field(120.0, description="Seconds that a whole reply may take.")]


def check_ceiling(max_cost: float, usd_per_million: Sequence[float]) -> None:
    """Raises ValueError for a cost ceiling without prices."""
    if max_cost and not any(usd_per_million):
        raise ValueError(
            "api_usd_per_million: without prices api_max_cost cannot be kept to; give both prices, or set "
            "api_max_cost to 0"
        )
