let order = [], questions = [], answers = {}, pictures = new Map(), at = 0, question = 0;

const answered = (number) => questions.every((q) => q.optional || (answers[number] || {})[q.header]);
const countAnswered = () => order.filter(answered).length;

function picture(number) {
  if (number === undefined) return Promise.resolve();
  if (!pictures.has(number)) {
    const loaded = ask("image", { number }).then((reply) => { new Image().src = reply.picture; return reply.picture; });
    loaded.catch(() => pictures.delete(number));
    pictures.set(number, loaded);
  }
  return pictures.get(number);
}

function started(reply) {
  order = reply.order;
  questions = reply.questions;
  answers = reply.answers;
  build();
  at = Math.max(0, order.findIndex((number) => !answered(number)));
  show();
}

function build() {
  const place = by("questions");
  place.replaceChildren();
  questions.forEach((q, index) => {
    const group = make("fieldset", undefined, { "data-id": "q" + index });
    group.addEventListener("focusin", () => { if (question !== index) { question = index; show(); } });
    group.append(make("legend", q.header + (q.optional ? " · optional" : "")));
    if (q.help) group.append(make("div", q.help, { class: "help" }));
    if (q.choices) {
      const choices = make("div", undefined, { class: "choices" });
      q.choices.forEach((choice, number) => {
        const label = make("label"), box = make("input", undefined, { type: "radio", name: "p2d-read-" + index, value: choice });
        box.addEventListener("change", () => choose(index, choice));
        label.append(box);
        if (!q.graded) label.append(make("kbd", String(number + 1), { class: "keys", "aria-hidden": "true" }));
        label.append(choice);
        choices.append(label);
      });
      group.append(choices);
    } else {
      const text = make("textarea", undefined, { rows: "2", maxlength: "1000", "aria-label": q.header, "data-id": "text" + index });
      text.addEventListener("input", () => { answers[order[at]] = Object.assign({}, answers[order[at]], { [q.header]: text.value }); });
      text.addEventListener("change", () => keep(order[at]));
      group.append(text);
    }
    place.append(group);
  });
}

function show() {
  const number = order[at];
  questions.forEach((q, index) => {
    const value = (answers[number] || {})[q.header] || "", group = by("q" + index);
    group.className = index === question ? "current" : "";
    if (q.choices) group.querySelectorAll("input").forEach((box) => { box.checked = box.value === value; });
    else by("text" + index).value = value;
  });
  const image = by("picture");
  if (!isSeen(number)) { image.removeAttribute("src"); image.dataset.number = ""; }
  picture(number).then((source) => {
    if (order[at] !== number) return;
    by("place").textContent = "Image " + (at + 1) + " of " + order.length + ", " + countAnswered() + " answered";
    by("progress").value = countAnswered() / order.length;
    if (isSeen(number)) return;
    image.src = source;
    image.dataset.number = number;
    secondsSince();
    picture(order[at + 1]).catch(() => {});
  }).catch(fail);
}

const isSeen = (number) => by("picture").dataset.number === String(number);

function keep(number) {
  return save("answer", { number, answers: answers[number] || {}, seconds: secondsSince() }).catch(() => {});
}

function answer(index, value) {
  const number = order[at];
  answers[number] = Object.assign({}, answers[number], { [questions[index].header]: value });
  keep(number);
}

function choose(index, value) {
  if (!isSeen(order[at])) { show(); return; }  // no answer about an image that is still on its way
  answer(index, value);
  question = Math.min(index + 1, questions.length - 1);
  show();
}

function move(to) {
  const number = order[at];
  if (isSeen(number)) keep(number);
  at = Math.max(0, Math.min(order.length - 1, to));
  question = 0;
  show();
}

function moveToOpen() {
  const later = order.findIndex((number, place) => place > at && !answered(number));
  const open = later < 0 ? order.findIndex((number) => !answered(number)) : later;
  if (open < 0) say("All images are answered: hand your answers in.", "");
  else move(open);
}

function finish() {
  waiting = waiting.then(() => ask("finish", {})).then(
    (reply) => say(reply.n + " of " + reply.of + " images are handed in, as " + reply.file + ": notebook 07 reads them when it runs next.", "saved"), fail);
}

function press(event) {
  const choices = questions[question].choices, digit = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
  if (digit && choices && digit <= choices.length) choose(question, choices[digit - 1]);
  else if (event.key === "ArrowRight") move(at + 1);
  else if (event.key === "Enter" && event.target.tagName !== "BUTTON") move(at + 1);
  else if (event.key === "ArrowLeft") move(at - 1);
  else if (event.key === "ArrowDown") { question = Math.min(question + 1, questions.length - 1); show(); }
  else if (event.key === "ArrowUp") { question = Math.max(question - 1, 0); show(); }
  else if (event.key === "Escape") event.target.blur();
  else return false;
  return true;
}

by("previous").addEventListener("click", () => move(at - 1));
by("next").addEventListener("click", () => move(at + 1));
by("open").addEventListener("click", moveToOpen);
by("finish").addEventListener("click", finish);
onKeys(press);
document.addEventListener("visibilitychange", () => {
  if (document.hidden && element.isConnected && isShown() && order.length && isSeen(order[at])) keep(order[at]);
});
