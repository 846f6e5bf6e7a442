/** Short notes: answers to presses as Telegram's apps show them, and problems. */

import { element } from "./dom.js";

const TOAST_MS = 4000;

/** Show the answer to a press, in the chat of the user who pressed. */
export function showAnswer({ user_id: user, text, show_alert: alert }) {
  if (alert) showAlert(text);
  else show(text, document.querySelector(`[data-user="${user}"] .toasts`));
}

/** Say that something did not work. */
export function showProblem(text) {
  show(text, null, "problem");
}

/** Show a toast; where there is no such chat now, at the bottom of the page. */
function show(text, place, style = "") {
  const toast = element("div", { class: `toast ${style}` }, text);
  (place ?? pageToasts()).append(toast);
  setTimeout(() => toast.remove(), TOAST_MS);
}

function pageToasts() {
  const found = document.querySelector("body > .toasts");
  if (found) return found;
  const made = element("div", { class: "toasts", role: "status" });
  document.body.append(made);
  return made;
}

function showAlert(text) {
  const focused = document.activeElement;
  const pane = focused?.closest(".pane");
  const close = () => {
    dialog.remove();
    giveFocusBack(focused, pane);
  };
  const dialog = element(
    "dialog",
    { class: "alert", "aria-label": "The bot says", onclose: close },
    element("p", {}, text),
    element("form", { method: "dialog" }, element("button", { class: "primary" }, "OK")),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** The pressed button was replaced or removed meanwhile: its successor, or the composer. */
function giveFocusBack(focused, pane) {
  const successor = pane?.querySelector(`[data-place="${focused.dataset.place}"]`);
  const target = focused?.isConnected ? focused : (successor ?? pane?.querySelector("textarea"));
  target?.focus();
}
