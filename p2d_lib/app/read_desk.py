"""What the Read tab asks of the server: the images of the reader study one by one, and one reader's answers.

It knows the study by the form that readers may also fill by hand (`readers/form.py`), which holds numbers, images and
each reader's order. The key is never opened, so nothing here can tell which images are synthetic.
"""

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO

from filelock import FileLock

from p2d_lib.app import people, store, widget
from p2d_lib.app.safety import Refused
from p2d_lib.files import atomic
from p2d_lib.readers import form, roster
from p2d_lib.run import Run

LOG = "readings.jsonl"
COMMENT = 1000  # characters at most


class Desk:
    """The reader study of one run. Each public method is an action of the page: JSON values in, JSON out.

    Raises ArtefactError where the run has no study. Every action raises Refused for what cannot be done.
    """

    def __init__(self, run: Run):
        self.run, self.folder = run, store.folder(run)
        content = form.content(run.path("study") / "form.html")
        self.study, self.about = content["study"], content["about"]
        self.headers, self.questions = content["headers"], content["questions"]
        self.orders = {int(reader): numbers for reader, numbers in content["orders"].items()}
        self._pictures = {int(number): picture for number, picture in content["images"].items()}

    @property
    def actions(self) -> dict[str, Callable[..., dict]]:
        """The actions by the names by which the page asks for them."""
        return {action.__name__: action for action in (self.sign_in, self.image, self.answer, self.finish)}

    def sign_in(self, name: object, code: object = "") -> dict:
        """Begins or continues: the person's code, order of images, questions, and this person's answers so far.

        A new reader takes the next free order. Raises Refused where as many people read as the study has orders.
        """
        name, code = people.sign_in(self.folder, name, code)
        reader = self._reader(name) or self._begin(name)
        return {
            "name": name,
            "code": code,
            "order": self.orders[reader],
            "questions": self.questions,
            "answers": {str(number): answered["answers"] for number, answered in self._answered(reader).items()},
        }

    def image(self, name: object, code: object, number: object) -> dict:
        """One image of this reader."""
        return {"picture": self._pictures[self._number(self._signed_in(name, code), number)]}

    def answer(self, name: object, code: object, number: object, answers: object, seconds: object) -> dict:
        """Saves what was answered about one image; returns when it is on the disk.

        answers: {question: answer}, which replaces the earlier ones. seconds: for which the image was shown since they
        were last saved.
        """
        reader = self._signed_in(name, code)
        record = {
            "number": self._number(reader, number),
            "answers": self._checked(answers),
            "seconds": widget.seconds(seconds),
        }
        self._append("answer", reader, **record)
        return {"number": record["number"]}

    def finish(self, name: object, code: object) -> dict:
        """Hands this reader's answers to 07, as a file in study_filled: images without all answers are not counted."""
        reader = self._signed_in(name, code)
        path = self.run.folder / "study_filled" / f"answers_{self.study}_{reader:02d}.csv"
        answered = self._answered(reader)
        needed = [question["header"] for question in self.questions if not question["optional"]]
        n = sum(all(answered.get(k, {}).get("answers", {}).get(q) for q in needed) for k in self.orders[reader])
        if not n:
            raise Refused("No image has all its answers yet: there is nothing to hand in.")
        with atomic(path) as partial:
            partial.write_text(self._csv(people.signed_in(self.folder, name, code), reader, answered), encoding="utf-8")
        return {"n": n, "of": len(self.orders[reader]), "file": path.name}

    def _signed_in(self, name: object, code: object) -> int:
        reader = self._reader(people.signed_in(self.folder, name, code))
        if reader is None:
            raise Refused("You have not begun to read this study; reload the page and begin.")
        return reader

    def _records(self, kind: str) -> list[dict]:
        records = store.records(self.folder / LOG)
        return [record for record in records if record["study"] == self.study and record["kind"] == kind]

    def _append(self, kind: str, reader: int, **values) -> None:
        time = datetime.now(UTC).isoformat()
        store.append(self.folder / LOG, {"study": self.study, "kind": kind, "reader": reader, **values, "time": time})

    def _reader(self, name: str) -> int | None:
        return next((record["reader"] for record in self._records("begin") if record["name"] == name), None)

    def _begin(self, name: str) -> int:
        with FileLock(self.folder / ".readers.lock"):  # no two people take one order
            taken = {record["reader"] for record in self._records("begin")}
            reader = next((number for number in sorted(self.orders) if number not in taken), None)
            if reader is None:
                raise Refused(
                    f"This study was made for {len(self.orders)} readers, and as many have begun: raise "
                    "07_readers.n_readers and run 07 again."
                )
            self._append("begin", reader, name=name)
        return reader

    def _number(self, reader: int, number: object) -> int:
        if isinstance(number, bool) or not isinstance(number, int) or number not in self.orders[reader]:
            raise Refused("You do not see such an image in this study; reload the page.")
        return number

    def _checked(self, answers: object) -> dict[str, str]:
        asked = {question["header"]: question["choices"] for question in self.questions}
        if not isinstance(answers, dict) or not set(answers) <= set(asked):
            raise Refused("These are no answers to the questions of this study; reload the page.")
        checked = {}
        for header, answer in answers.items():
            checked[header] = answer = widget.text(answer, header, COMMENT)
            if asked[header] and answer not in ("", *asked[header]):
                raise Refused(f"{header}: choose one of {', '.join(asked[header])}.")
        return checked

    def _answered(self, reader: int) -> dict[int, dict]:
        """{number: {"answers", "seconds"}} of one reader: the last answers, the time of all looks together."""
        answered = {}
        for record in self._records("answer"):
            if record["reader"] == reader:
                before = answered.get(record["number"], {"seconds": 0.0})["seconds"]
                answered[record["number"]] = {"answers": record["answers"], "seconds": before + record["seconds"]}
        return answered

    def _csv(self, name: str, reader: int, answered: dict[int, dict]) -> str:
        """The answers as the form saves them, which `answers.read` reads."""
        asked = [question["header"] for question in self.questions]
        titles = (
            self.headers["reader"],
            self.headers["study"],
            self.headers["number"],
            *asked,
            self.headers["seconds"],
        )
        stream = StringIO()
        lines = csv.writer(stream)
        lines.writerow(titles)
        for number in self.orders[reader]:
            of_image = answered.get(number, {"answers": {}, "seconds": 0.0})
            words = [of_image["answers"].get(header, "") for header in asked]
            spent = f"{of_image['seconds']:.2f}" if of_image["seconds"] else ""
            lines.writerow((name, roster.code(self.study, reader), number, *words, spent))
        return stream.getvalue()
