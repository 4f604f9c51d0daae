"""A page of the app in a real browser, and what a person does there."""

import time

from browser import Browser

GALLERY = "(document.querySelector('#p2d-gallery .p2d-note') || {}).innerText"  # how many images the run has
STATUS = "(document.querySelector('#p2d-progress .p2d-status') || {}).innerText || ''"


class Page(Browser):
    """A page of the app in a real browser."""

    def until(self, script: str, seconds: float = 120):
        """The value of a JavaScript expression as soon as it is true; True for a part of the page."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(f"(value => value instanceof Node || value)({script})"):
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {script}\n{self.run('document.body.innerText')[:3000]}")

    def none(self, script: str, seconds: float = 20) -> None:
        """Asserts that an expression's list becomes empty, and shows what is left in it."""
        end = time.monotonic() + seconds
        while (left := self.run(script)) and time.monotonic() < end:
            time.sleep(0.05)
        assert left == []

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({selector!r}).click()")

    def tab(self, title: str) -> None:
        self.run(f"[...document.querySelectorAll('button[role=tab]')].find(b => b.innerText == {title!r}).click()")

    def fill(self, selector: str, text: str) -> None:
        """Types into a field, as gradio notices it."""
        self.run(
            f"(() => {{ const field = document.querySelector({selector!r}); field.value = {text!r};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def set(self, selector: str, number: str) -> None:
        """Types the number of one of gradio's sliders, until the slider itself has moved: gradio listens to a part a
        moment after it shows it."""
        moved = f"document.querySelector({selector!r} + ' input[type=range]').value == {number!r}"
        end = time.monotonic() + 60
        while not self.run(moved):
            assert time.monotonic() < end, (selector, number)
            self.fill(f"{selector} input[type=number]", number)
            time.sleep(0.1)

    def choose(self, selector: str, label: str) -> None:
        """Takes an entry of one of gradio's dropdowns, and waits until it is shown as chosen."""
        field = f"document.querySelector('{selector} input')"
        option = f"[...document.querySelectorAll('[role=option]')].find(o => o.innerText.trim().endsWith({label!r}))"
        self.until(f"(document.activeElement == {field} || {field}.focus(), {option})")
        self.run(f"{option}.dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}))")
        self.until(f"!document.querySelector('[role=option]') && {field}.value.endsWith({label!r})")

    def show(self, address: str, width: int = 1200, colours: str = "light") -> None:
        """Opens the app anew. width: px; colours: "light" or "dark", as the reader's machine asks for."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        wish = {"name": "prefers-color-scheme", "value": colours}
        self.call("Emulation.setEmulatedMedia", features=[wish])
        self.open(address)
        self.until(GALLERY)  # the answer to the page's first question: from now on gradio listens

    def show_idle(self, address: str, **looks) -> None:
        """Opens the app anew once it makes no image any more: a page that is opened earlier shows that one."""
        self.show(address, **looks)
        while self.run(STATUS):
            self.until(f"/Done|Stopped|Not done/.test({STATUS})")
            self.show(address, **looks)

    def unfold(self, title: str, element: str) -> None:
        """Opens one of gradio's accordions, whose parts exist only from then on."""
        self.until(f"[...document.querySelectorAll('button')].find(one => one.innerText.trim().startsWith({title!r}))")
        self.run(
            f"[...document.querySelectorAll('button')].find(b => b.innerText.trim().startsWith({title!r})).click()"
        )
        self.until(f"document.querySelector({element!r})")
