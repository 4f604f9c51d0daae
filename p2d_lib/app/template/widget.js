"use strict";
// What both widgets share. `element`, `server` and `props` come from gradio.
const by = (name) => element.querySelector("[data-id='" + name + "']");
const notes = {
  key: "prompt2derm-" + props.run,
  read() { try { return JSON.parse(localStorage.getItem(this.key)) || {}; } catch (error) { return {}; } },
  write(values) { try { localStorage.setItem(this.key, JSON.stringify(Object.assign(this.read(), values))); } catch (error) { /* the code is on the page */ } },
};
let person = { name: "", code: "" }, since = Date.now(), spent = 0, waiting = Promise.resolve(), nWaiting = 0;

const isShown = () => element.offsetParent !== null;

function make(tag, text, attributes) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  Object.entries(attributes || {}).forEach(([name, value]) => node.setAttribute(name, value));
  return node;
}

async function ask(action, details) {
  let reply;
  try { reply = await server.ask(Object.assign({ action }, person, details)); } catch (error) { reply = null; }
  if (!reply || typeof reply !== "object") throw new Error("The server did not answer: is the app still running? Try again.");
  if (reply.error) throw new Error(reply.error);
  return reply;
}

// One after another, so that what was pressed first is saved first.
function save(action, details) {
  nWaiting += 1;
  say("Saving …", "");
  const result = waiting.then(() => ask(action, details));
  waiting = result.then(() => { nWaiting -= 1; if (!nWaiting) say("Saved", "saved"); }, (error) => { nWaiting -= 1; fail(error); });
  return result;
}

function say(text, kind) {
  const status = by("status");
  status.textContent = text;
  status.className = "status " + kind;
}

const fail = (error) => say(error.message, "failed");

// Seconds for which the page was in view since the last call.
function secondsSince() {
  const milliseconds = spent + (document.hidden ? 0 : Date.now() - since);
  spent = 0;
  since = Date.now();
  return Math.min(86400, milliseconds / 1000);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) spent += Date.now() - since;
  since = Date.now();
});

function begin(event) {
  event.preventDefault();
  person = { name: by("name").value, code: by("code").value };
  const failed = by("start-status");
  failed.textContent = "";
  ask("sign_in", {}).then((reply) => {
    person = { name: reply.name, code: reply.code };
    notes.write(person);
    by("code-shown").textContent = reply.code;
    by("start").hidden = true;
    by("desk").hidden = false;
    started(reply);
  }).catch((error) => { failed.textContent = error.message; });
}

function isTyping(event) {
  const tag = event.target.tagName;
  return tag === "TEXTAREA" || tag === "SELECT" || (tag === "INPUT" && event.target.type === "text");
}

function onKeys(press) {
  const listen = (event) => {
    if (!element.isConnected) { document.removeEventListener("keydown", listen); return; }
    if (!isShown() || by("desk").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event) && event.key !== "Escape") return;
    const isElsewhere = event.target !== document.body && !element.contains(event.target);
    if (isElsewhere && event.key.length > 1) return;  // Enter and arrows belong to the control that has the focus
    if (press(event)) event.preventDefault();
  };
  document.addEventListener("keydown", listen);
}

by("start").addEventListener("submit", begin);
by("name").value = notes.read().name || "";
by("code").value = notes.read().code || "";
by("begin").disabled = false;  // before this script runs, the browser would send the form away
