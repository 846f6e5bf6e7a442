/** The steps of a turn as a waterfall: when each began, and how long it took. */

import { element } from "./dom.js";
import { clockTime, duration, spaced } from "./words.js";

/** What is said of steps that say nothing of themselves. */
const EXPLAINED = { waited: "in the user's mailbox" };
/** The least width of a bar, in hundredths of the whole: short steps stay visible. */
const LEAST = 0.8;

/** Seconds from the first step's start to the last one's end. */
export function totalSeconds({ steps }) {
  const [start, end] = span(steps);
  return end - start;
}

function span(steps) {
  if (steps.length === 0) return [0, 0];
  const starts = steps.map((step) => step.start);
  const ends = steps.map((step) => step.end);
  return [Math.min(...starts), Math.max(...ends)];
}

/**
 * Draw the steps, one below the other.
 *
 * @param {Array<{name: string, start: number, end: number, detail: string, failed: boolean}>} steps
 *   Times in epoch seconds.
 */
export function timeline(steps) {
  const [start, end] = span(steps);
  const whole = Math.max(end - start, 1e-6);
  // Steps are told when they end: one that holds others comes after them.
  const ordered = [...steps].sort((one, other) => one.start - other.start || other.end - one.end);
  let outer = null;
  const lines = ordered.map((step) => {
    const nested = outer !== null && step.end <= outer.end && step.start < outer.end;
    if (!nested) outer = step;
    return line(step, start, whole, nested);
  });
  return element(
    "div",
    { class: "timeline" },
    element(
      "div",
      { class: "scale", "aria-hidden": "true" },
      element("span", {}, clockTime(start)),
      element("span", {}, `+ ${duration(whole / 2)}`),
      element("span", {}, `+ ${duration(whole)}`),
    ),
    element("ol", { "aria-label": `Timeline, ${duration(whole)} in all` }, ...lines),
  );
}

function line(step, start, whole, nested) {
  const { name, detail = "" } = step;
  const style = detail === "limited" ? "limited" : name;
  const took = step.end - step.start;
  const from = Math.min(((step.start - start) / whole) * 100, 100 - LEAST);
  const width = Math.min(Math.max((took / whole) * 100, LEAST), 100 - from);
  const bar = element("span", { class: "bar" });
  bar.style.setProperty("--from", `${from}%`);
  bar.style.setProperty("--width", `${width}%`);
  return element(
    "li",
    { class: `step ${style}${step.failed ? " failed" : ""}`, title: `+ ${duration(step.start - start)}` },
    element("span", { class: nested ? "step-name nested" : "step-name" }, spaced(name)),
    element("span", { class: "track", "aria-hidden": "true" }, bar),
    element("span", { class: "step-took" }, took > 0 ? duration(took) : "at once"),
    element("span", { class: "step-detail" }, detail || EXPLAINED[name] || ""),
  );
}
