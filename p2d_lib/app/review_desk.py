"""What the Review tab asks of the server: real images with their machine description, and people's decisions."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime

import pandas as pd

from p2d_lib.app import people, review_agreement, review_export, review_log, store
from p2d_lib.app.review_log import Reviews
from p2d_lib.app.safety import Refused
from p2d_lib.app.widget import seconds, text
from p2d_lib.home import home
from p2d_lib.images import data_uri
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.table_files import MISSING, truth
from p2d_lib.vocabulary import DX_NAMES, FEATURE_GROUPS, FEATURES
from p2d_lib.words.wording import Wording, lesions

TEXT, REASON = 2000, 300  # characters at most
SPLITS = ("train", "val", "test")  # in this order images are reviewed: 03 learns from train


class Desk:
    """The reviews of one run. Each public method is an action of the page: keywords of JSON values in, JSON out.

    run: with cases, images, descriptions and wording. count: gives the number of tokens of a text, for prompts. Raises
    ArtefactError where the run lacks one of them. Every action raises Refused for what cannot be done.
    """

    def __init__(self, run: Run, count: Callable[[str], int]):
        self.run, self.folder, self._count = run, store.folder(run), count
        descriptions = run.read("descriptions")
        machine = descriptions[descriptions["valid"] & (descriptions["reviewer"] == "")].drop_duplicates("image_id")
        cases = _in_order(run.read("cases").merge(machine, on="image_id"))
        self.cases = cases.set_index("image_id", drop=False)
        self.wording = Wording(**json.loads(run.path("wording").read_text(encoding="utf-8")))
        self.seed = int(run.made_with("descriptions")["parameters"].get("seed", 0))

    @property
    def actions(self) -> dict[str, Callable[..., dict]]:
        """The actions by the names by which the page asks for them."""
        asked = (self.sign_in, self.case, self.prompt, self.decide, self.undo, self.compare, self.export)
        return {action.__name__: action for action in asked}

    def sign_in(self, name: object, code: object = "") -> dict:
        """Begins or continues: the person's code, the images in the order of review, and what this person decided."""
        name, code = people.sign_in(self.folder, name, code)
        own = self._reviews().standing.get(name, {})
        return {
            "name": name,
            "code": code,
            "images": [
                [image_id, split] for image_id, split in zip(self.cases.index, self.cases["split"], strict=True)
            ],
            "decided": {image_id: decision["verdict"] for image_id, decision in own.items()},
            "features": [
                [feature.name, feature.title, group]
                for group, kinds in FEATURE_GROUPS.items()
                for feature in FEATURES.values()
                if feature.kind in kinds
            ],
        }

    def case(self, name: object, code: object, image_id: object) -> dict:
        """One image with its machine description, and this person's own decision on it; nothing of other people's."""
        name, case = people.signed_in(self.folder, name, code), self._case(image_id)
        return {
            "picture": data_uri((self.run.folder / case["path"]).read_bytes()),
            "about": _about(case),
            "describer": case["describer"],
            "text": case["text"],
            "scores": _scores(case),
            "prompt": case["prompt"],
            "own": _shown(self._reviews().standing.get(name, {}).get(case["image_id"])),
        }

    def prompt(self, name: object, code: object, image_id: object, scores: object) -> dict:
        """The prompt that 02 would word from edited scores."""
        people.signed_in(self.folder, name, code)
        return {"prompt": self._worded(self._case(image_id), _checked(scores))}

    def decide(
        self,
        name: object,
        code: object,
        image_id: object,
        verdict: object,
        text: object,
        scores: object,
        reason: object,
        seconds: object,
    ) -> dict:
        """Saves a decision; returns when it is on the disk. verdict: keep | reject, which needs a reason.

        A description that is kept counts as accepted where text and scores are the machine's, else as edited.
        """
        name, case = people.signed_in(self.folder, name, code), self._case(image_id)
        record = {"name": name, "image_id": case["image_id"], **_decision(case, verdict, text, scores, reason, seconds)}
        store.append(self.folder / review_log.LOG, {**record, "time": datetime.now(UTC).isoformat()})
        return {"verdict": record["verdict"]}

    def undo(self, name: object, code: object) -> dict:
        """Withdraws this person's last decision and returns it, for the page to go back to it as it was."""
        name = people.signed_in(self.folder, name, code)
        made = self._reviews().made.get(name, [])
        if not made:
            raise Refused("There is no decision to undo.")
        last, now = made[-1], datetime.now(UTC).isoformat()
        store.append(
            self.folder / review_log.LOG, {"name": name, "verdict": "undo", "image_id": last["image_id"], "time": now}
        )
        earlier = self._reviews().standing.get(name, {}).get(last["image_id"])
        return {"image_id": last["image_id"], "undone": _shown(last), "verdict": earlier and earlier["verdict"]}

    def compare(self, name: object, code: object) -> dict:
        """How far reviewers agree, and other people's decisions on the images that this person has decided on.

        The look is noted in the log: what this person decides on those images from then on is not blind, and does not
        count for agreement.
        """
        name = people.signed_in(self.folder, name, code)
        shared = self._reviews().shared(name)
        if not shared:
            raise Refused("No other reviewer has decided on an image that you have decided on; compare later.")
        record = {"name": name, "verdict": "compare", "images": shared, "time": datetime.now(UTC).isoformat()}
        store.append(self.folder / review_log.LOG, record)
        reviews = self._reviews()
        kappas = review_agreement.table(reviews, shared)
        kappas = kappas[kappas["n"] > 0].astype(object).where(lambda table: table.notna(), None)
        return {"kappas": kappas.to_dict("records"), "differ": _differences(reviews, shared)}

    def export(self, name: object, code: object) -> dict:
        """Writes all reviewers' decisions as the file of edits that 02 reads, and says how to use it."""
        people.signed_in(self.folder, name, code)
        path = self.folder / review_export.FILE
        n = review_export.write(path, self._reviews())
        if not n:
            raise Refused("Nobody has decided on an image yet: there is nothing to hand to 02.")
        file = path.relative_to(home()).as_posix()
        command = f"./run_all.sh --run {self.run.name} --set 02_describe.edits_file={file}"
        return {"n": n, "file": file, "command": f"{command} --set 03_finetune.reviewed_only=true"}

    def _reviews(self) -> Reviews:
        return review_log.replay(store.records(self.folder / review_log.LOG))

    def _case(self, image_id: object) -> pd.Series:
        if not isinstance(image_id, str) or image_id not in self.cases.index:
            raise Refused("This run has no such image to review; reload the page.")
        return self.cases.loc[image_id]

    def _worded(self, case: pd.Series, scores: dict[str, float | None]) -> str:
        if scores == _scores(case):
            return case["prompt"]
        about = case.to_frame().T
        edited = pd.DataFrame([scores], dtype=float)
        return self.wording.prompts(lesions(about, edited), self._count, self.seed, [case["image_id"]])[0]


def _in_order(cases: pd.DataFrame) -> pd.DataFrame:
    """One image of each class after another, so that the first hundred hold the rare ones; one order for all people,
    so that they meet on the same images."""
    order = [derive(0, "review", image_id) for image_id in cases["image_id"]]
    cases = cases.assign(order=order).sort_values("order", ignore_index=True)
    place = cases.groupby(["split", "dx"]).cumcount()
    cases = cases.assign(place=place, at=cases["split"].map(SPLITS.index))
    return cases.sort_values(["at", "place", "dx"], ignore_index=True).drop(columns=["order", "place", "at"])


def _about(case: pd.Series) -> str:
    age = "" if math.isnan(case["age"]) else f"{case['age']:.0f} years"
    known = (DX_NAMES[case["dx"]], *(str(case[name]) for name in ("localization", "sex") if case[name] != "unknown"))
    return " · ".join(filter(None, (*known, age)))


def _scores(row: pd.Series) -> dict[str, float | None]:
    return {name: None if math.isnan(row[name]) else float(row[name]) for name in FEATURES}


def _checked(scores: object) -> dict[str, float | None]:
    if not isinstance(scores, dict) or set(scores) != set(FEATURES):
        raise Refused(f"A score is needed for each of the {len(FEATURES)} features; reload the page.")
    for name, score in scores.items():
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        if score is not None and not (is_number and 0 <= score <= 1):
            raise Refused(f"{FEATURES[name].title}: a score is a number from 0 to 1, or unknown.")
    return {name: None if scores[name] is None else float(scores[name]) for name in FEATURES}


def _decision(case: pd.Series, verdict: object, words: object, scores: object, reason: object, spent: object) -> dict:
    scores, words, spent = _checked(scores), text(words, "Description", TEXT), seconds(spent)
    if verdict == "reject":
        reason = text(reason, "Reason", REASON)
        if reason.lower() in MISSING or truth(reason) is False:  # what 02 reads as no reason
            raise Refused("Say why you reject the description.")
        return {"verdict": verdict, "text": case["text"], "scores": _scores(case), "reason": reason, "seconds": spent}
    if verdict != "keep":
        raise Refused("A description is kept or rejected; reload the page.")
    if not words:
        raise Refused("Description: it is empty; write what the image shows.")
    is_machines = scores == _scores(case) and words == " ".join(case["text"].split())
    kept = {"text": case["text"] if is_machines else words, "scores": scores, "reason": "", "seconds": spent}
    return {"verdict": "accept" if is_machines else "edit", **kept}


def _shown(decision: dict | None) -> dict | None:
    """What the page needs of a decision to show it again."""
    return decision and {name: decision[name] for name in ("verdict", "text", "scores", "reason")}


def _differences(reviews: Reviews, image_ids: list[str]) -> list[dict]:
    """The images on which people differ, and what each says now: the verdict, and the features by their scores."""
    differing = []
    for image_id in image_ids:
        decisions = {name: of_name[image_id] for name, of_name in reviews.standing.items() if image_id in of_name}
        kept = [decision for decision in decisions.values() if decision["verdict"] != "reject"]
        features = [name for name in FEATURES if len({decision["scores"][name] for decision in kept}) > 1]
        if features or 0 < len(kept) < len(decisions):
            people = {
                name: {"verdict": decision["verdict"], "reason": decision["reason"],
                       "scores": {feature: decision["scores"][feature] for feature in features}}
                for name, decision in decisions.items()
            }  # fmt: skip
            differing.append({"image_id": image_id, "people": people})
    return differing
