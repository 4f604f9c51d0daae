"""What reviewers decided, from the log: what stands, what can be undone, and what was decided blind.

A record is a decision {"name", "image_id", "verdict": accept | edit | reject, "text", "scores", "reason", "seconds",
"time"}, the withdrawal of the last one ("undo"), or the look at other people's decisions ("compare", with "images").
"""

from collections.abc import Iterable
from typing import NamedTuple

LOG = "reviews.jsonl"
DECISIONS = ("accept", "edit", "reject")


class Reviews(NamedTuple):
    """By reviewer and image_id. standing: the last decision that was not undone. blind: the decision that stood when
    the reviewer first saw those of others, else the standing one. made: all that were not undone, oldest first."""

    standing: dict[str, dict[str, dict]]
    blind: dict[str, dict[str, dict]]
    made: dict[str, list[dict]]

    def shared(self, name: str) -> list[str]:
        """The images that this reviewer and at least one other have decided on, in the order of this reviewer."""
        others = {image for other, decided in self.standing.items() if other != name for image in decided}
        return [image for image in self.standing.get(name, {}) if image in others]


def replay(records: Iterable[dict]) -> Reviews:
    """What a log's records, oldest first, amount to."""
    made, before = {}, {}
    for record in records:
        decisions = made.setdefault(record["name"], [])
        if record["verdict"] in DECISIONS:
            decisions.append(record)
        elif record["verdict"] == "undo":
            del decisions[-1:]
        else:
            standing = {decision["image_id"]: decision for decision in decisions}
            for image_id in record["images"]:
                if image_id in standing:
                    before.setdefault(record["name"], {}).setdefault(image_id, standing[image_id])
    standing = {name: {decision["image_id"]: decision for decision in decisions} for name, decisions in made.items()}
    blind = {name: decided | before.get(name, {}) for name, decided in standing.items()}
    return Reviews(standing, blind, made)
