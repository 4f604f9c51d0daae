const LEVELS = [null, 0, 0.25, 0.5, 0.75, 1], SIGNS = ["?", "0", "¼", "½", "¾", "1"];
const LEVEL_NAMES = ["unknown", "absent", "a quarter", "half", "three quarters", "marked"];
const REASONS = ["The image cannot be judged", "The description is wrong", "The diagnosis is doubtful", "It shows more than one lesion"];
let images = [], decided = {}, cases = new Map(), at = 0, feature = 0, names = [], machine = null, scores = {}, asked = 0, titles = {};

const words = (name) => titles[name] || name;
const shown = (score) => score === null ? "unknown" : String(Math.round(score * 100) / 100);
const draftKey = () => "prompt2derm-draft-" + props.run + "-" + person.name + "-" + images[at][0];

function load(place) {
  if (!images[place]) return Promise.resolve();
  const image_id = images[place][0];
  if (!cases.has(image_id)) {
    const loaded = ask("case", { image_id }).then((reply) => { new Image().src = reply.picture; return reply; });
    loaded.catch(() => cases.delete(image_id));
    cases.set(image_id, loaded);
    if (cases.size > 20) cases.delete(cases.keys().next().value);
  }
  return cases.get(image_id);
}

function started(reply) {
  images = reply.images;
  decided = reply.decided;
  build(reply.features);
  if (!images.length) { say("This run has no image with a description to review.", "failed"); return; }
  at = nextOpen(-1);
  show();
}

function nextOpen(after) {
  const isOpen = ([image_id]) => !(image_id in decided);
  const later = images.findIndex((image, place) => place > after && isOpen(image));
  if (later >= 0) return later;
  const first = images.findIndex(isOpen);
  return first >= 0 ? first : Math.min(after + 1, images.length - 1);
}

function show(draft) {
  const place = at, [image_id, split] = images[place];
  const ofSplit = images.filter((image) => image[1] === split);
  const done = ofSplit.filter((image) => image[0] in decided).length;
  machine = null;  // until the image is here, no key decides on it
  if (by("reject-form").contains(document.activeElement)) document.activeElement.blur();
  by("reject-form").hidden = true;
  by("buttons").hidden = false;
  load(place).then((reply) => {
    if (at !== place) return;
    machine = reply;
    by("place").textContent = "Image " + (place + 1) + " of " + images.length + " · " + done + " of " + ofSplit.length + " decided in " + split;
    by("progress").value = done / ofSplit.length;
    by("picture").src = reply.picture;
    by("about").textContent = reply.about;
    by("source").textContent = image_id + " · describer: " + reply.describer + (image_id in decided ? " · your decision: " + decided[image_id] : "");
    const from = draft || readDraft() || reply.own || reply;
    scores = Object.assign({}, from.scores);
    by("text").value = from.text;
    feature = 0;
    secondsSince();
    mark();
    load(nextOpen(place)).catch(() => {});
  }).catch(fail);
}

function readDraft() { try { return JSON.parse(localStorage.getItem(draftKey())); } catch (error) { return null; } }
function writeDraft(draft) { try { draft ? localStorage.setItem(draftKey(), JSON.stringify(draft)) : localStorage.removeItem(draftKey()); } catch (error) { /* it is kept on the page */ } }

function build(features) {
  const place = by("features");
  let group = "";
  place.replaceChildren();
  names = features.map(([name]) => name);
  titles = Object.fromEntries(features);
  names.forEach((name, index) => {
    if (features[index][2] !== group) place.append(make("h4", group = features[index][2]));
    const row = make("div", undefined, { class: "feature", "data-id": "feature-" + index });
    const label = make("span"), levels = make("span", undefined, { class: "levels", role: "radiogroup", "aria-label": words(name) });
    label.append(make("span", words(name), { class: "name" }), make("span", "", { class: "score" }));
    LEVELS.forEach((level, number) => {
      const button = make("button", SIGNS[number], { type: "button", role: "radio", "aria-label": LEVEL_NAMES[number], title: LEVEL_NAMES[number] + " (key " + number + ")" });
      button.addEventListener("click", () => { feature = index; score(level); });
      levels.append(button);
    });
    row.addEventListener("focusin", () => { if (machine && feature !== index) { feature = index; mark(); } });
    row.append(label, levels);
    place.append(row);
  });
}

const isEdited = () => names.some((name) => scores[name] !== machine.scores[name]) || by("text").value !== machine.text;

function mark() {
  names.forEach((name, index) => {
    const row = by("feature-" + index), value = scores[name], before = machine.scores[name], edited = value !== before;
    row.className = "feature" + (index === feature ? " current" : "") + (edited ? " edited" : "");
    row.querySelector(".score").textContent = shown(value) + (edited ? " (was " + shown(before) + ")" : "");
    const near = value === null ? 0 : 1 + Math.round(4 * value);
    row.querySelectorAll("button").forEach((button, number) => {
      button.setAttribute("aria-checked", String(LEVELS[number] === value));
      button.tabIndex = number === near ? 0 : -1;
      button.className = number === near && LEVELS[number] !== value ? "near" : "";
    });
  });
  const edited = isEdited();
  by("accept-word").textContent = edited ? "Save edit" : "Accept";
  by("reset").disabled = !edited;
  by("prompt").className = "prompt" + (edited ? " edited" : "");
  writeDraft(edited ? { scores, text: by("text").value } : null);
  wordPrompt(names.some((name) => scores[name] !== machine.scores[name]));
}

function wordPrompt(isOther) {
  const number = ++asked;
  if (!isOther) { by("prompt").textContent = machine.prompt; return; }
  ask("prompt", { image_id: images[at][0], scores }).then((reply) => { if (number === asked) by("prompt").textContent = reply.prompt; }).catch(fail);
}

function score(level) {
  if (!machine) return;
  scores[names[feature]] = level;
  mark();
}

function decide(verdict, reason) {
  if (!machine) return;
  const place = at, image_id = images[place][0];
  const details = { image_id, verdict, text: by("text").value, scores, reason, seconds: secondsSince() };
  machine = null;
  save("decide", details).then((reply) => {
    decided[image_id] = reply.verdict;
    writeDraft(null);
    cases.delete(image_id);
    at = nextOpen(place);
    show();
  }, () => { show({ scores: details.scores, text: details.text }); });
}

function undo() {
  save("undo", {}).then((reply) => {
    if (reply.verdict) decided[reply.image_id] = reply.verdict; else delete decided[reply.image_id];
    cases.delete(reply.image_id);
    at = Math.max(0, images.findIndex((image) => image[0] === reply.image_id));
    show(reply.undone);
    waiting.then(() => say("Undone: your last decision was to " + reply.undone.verdict + " this description.", ""));
  }, () => {});
}

function askReason() {
  by("reject-form").hidden = false;
  by("buttons").hidden = true;
  by("reason").value = "";
  by("reasons").querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", "false"));
  by("reasons").firstElementChild.focus();
}

function chooseReason(index) {
  by("reason").value = REASONS[index];
  by("reasons").querySelectorAll("button").forEach((button, number) => button.setAttribute("aria-pressed", String(number === index)));
}

function reject(event) {
  if (event) event.preventDefault();
  if (!by("reason").value.trim()) { fail(new Error("Say why you reject the description.")); return; }
  decide("reject", by("reason").value);
}

function closeReason() { by("reject-form").hidden = true; by("buttons").hidden = false; by("accept").focus(); }

function move(to) { at = Math.max(0, Math.min(images.length - 1, to)); show(); }

function table(headers, rows) {
  const box = make("div", undefined, { class: "table", tabindex: "0", role: "region", "aria-label": headers.join(", ") }), content = make("table");
  const head = make("tr");
  headers.forEach((header) => head.append(make("th", header, { scope: "col" })));
  content.append(head);
  rows.forEach((cells) => {
    const row = make("tr");
    cells.forEach((cell) => { const place = make("td"); place.append(cell instanceof Node ? cell : String(cell)); row.append(place); });
    content.append(row);
  });
  box.append(content);
  return box;
}

const said = (one) => one.verdict === "reject" ? "rejected: " + one.reason :
  (one.verdict === "edit" ? "edited" : "accepted") + Object.entries(one.scores).map(([name, value]) => ", " + words(name) + " " + shown(value)).join("");

function link(image_id) {
  const button = make("button", image_id, { type: "button" });
  button.addEventListener("click", () => { move(images.findIndex((image) => image[0] === image_id)); element.scrollIntoView(); });
  return button;
}

function compare() {
  ask("compare", {}).then((reply) => {
    const kappas = reply.kappas.filter((row) => row.kappa !== null).map((row) => [words(row.question), row.readers, row.n, row.low === null ? "n too small" : row.kappa.toFixed(2) + " [" + row.low.toFixed(2) + ", " + row.high.toFixed(2) + "]"]);
    const alike = [...new Set(reply.kappas.filter((row) => row.kappa === null).map((row) => words(row.question)))];
    const differ = reply.differ.flatMap((row) => Object.entries(row.people).map(([name, one], number) => [number ? "" : link(row.image_id), name, said(one)]));
    by("result").replaceChildren(
      make("h3", "Agreement"),
      make("p", "Cohen's κ of decisions made before their makers saw each other's: 0 is chance, 1 perfect. All start from the machine's scores, so κ is higher than of people who score alone. What you change from now on is kept, and does not count for κ."),
      kappas.length ? table(["Question", "Reviewers", "Images", "κ"], kappas) : "",
      make("p", alike.length ? "No κ, since all answers are one and the same: " + alike.join(", ") + "." : ""),
      make("h3", "Where you differ"),
      differ.length ? table(["Image", "Reviewer", "Decision"], differ) : make("p", "Nowhere."),
    );
  }).catch((error) => by("result").replaceChildren(make("p", error.message, { class: "note" })));
}

function handOver() {
  ask("export", {}).then((reply) => by("result").replaceChildren(
    make("h3", "Handed to 02"),
    make("p", reply.n + " decisions of all reviewers are in " + reply.file + ". This describes the images by them, and trains on reviewed prompts alone:"),
    make("code", reply.command, { class: "command" }),
  )).catch((error) => by("result").replaceChildren(make("p", error.message, { class: "note" })));
}

function press(event) {
  const digit = /^[0-9]$/.test(event.key) ? Number(event.key) : -1, onButton = event.target.tagName === "BUTTON" && event.target.getAttribute("role") !== "radio" && element.contains(event.target);
  if (event.key === "Escape") { if (by("reject-form").hidden) event.target.blur(); else closeReason(); return true; }
  if (!by("reject-form").hidden) {
    if (digit >= 1 && digit <= REASONS.length) chooseReason(digit - 1);
    else if (event.key === "Enter" && by("reason").value) reject();
    else return false;
    return true;
  }
  if (event.key === "ArrowRight") { move(at + 1); return true; }
  if (event.key === "ArrowLeft") { move(at - 1); return true; }
  if (!machine) return false;
  if (digit >= 0 && digit < LEVELS.length) score(LEVELS[digit]);
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    feature = Math.max(0, Math.min(names.length - 1, feature + (event.key === "ArrowDown" ? 1 : -1)));
    mark();
    by("feature-" + feature).scrollIntoView({ block: "nearest" });
  } else if (event.key === "Enter" && !onButton) decide("keep", "");
  else if (event.key === "r") askReason();
  else if (event.key === "u") undo();
  else return false;
  return true;
}

REASONS.forEach((reason, index) => {
  const button = make("button", reason + " ", { type: "button", "aria-pressed": "false" });
  button.append(make("kbd", String(index + 1)));
  button.addEventListener("click", () => chooseReason(index));
  by("reasons").append(button);
});
by("reject-form").addEventListener("submit", reject);
by("keep-on").addEventListener("click", closeReason);
by("accept").addEventListener("click", () => decide("keep", ""));
by("reject").addEventListener("click", askReason);
by("undo").addEventListener("click", undo);
by("reset").addEventListener("click", () => { if (!machine) return; scores = Object.assign({}, machine.scores); by("text").value = machine.text; mark(); });
by("previous").addEventListener("click", () => move(at - 1));
by("next").addEventListener("click", () => move(at + 1));
by("compare").addEventListener("click", compare);
by("export").addEventListener("click", handOver);
by("text").addEventListener("input", () => { if (machine) mark(); });
onKeys(press);
