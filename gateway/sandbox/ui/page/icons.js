/** Small line drawings, 16 by 16, in the colour of the text around them. */

import { graphic } from "./dom.js";

const PATHS = {
  attach: "M13 7.3 7.8 12.5a3 3 0 0 1-4.3-4.3l5.4-5.4a2 2 0 0 1 2.9 2.9l-5.2 5.2a1 1 0 0 1-1.5-1.4L9.8 4.8",
  album: "M4.5 2.5h9v8h-9zM2.5 5v8.5H12",
  animation: "M2.5 4h11v8h-11zM6.5 6.2v3.6L9.8 8z",
  audio: "M6 12V3.5l7-1V11M6 12a1.7 1.7 0 1 1-3.4 0A1.7 1.7 0 0 1 6 12zm7-1a1.7 1.7 0 1 1-3.4 0A1.7 1.7 0 0 1 13 11z",
  block: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM4.2 4.2l7.6 7.6",
  burst: "M2.5 4.5h7M2.5 8h11M2.5 11.5h5M11 3l2 1.5L11 6",
  chevron: "m6 4 4 4-4 4",
  columns: "M2.5 3h11v10h-11zM8 3v10",
  contact: "M8 8a2.6 2.6 0 1 0 0-5.2A2.6 2.6 0 0 0 8 8zm-5 5.5c.6-2.4 2.5-3.6 5-3.6s4.4 1.2 5 3.6",
  document: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  location: "M8 14c3-3.3 4.5-5.5 4.5-7.5a4.5 4.5 0 0 0-9 0C3.5 8.5 5 10.7 8 14zM8 8a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3z",
  photo: "M2.5 3.5h11v9h-11zM2.8 11.5 6 8l2.5 2.6L10.5 9l3 2.5M10.5 6.3h.01",
  plus: "M8 3v10M3 8h10",
  send: "M2.5 8h10.5M8.8 3.8 13 8l-4.2 4.2",
  sticker: "M3 3h10v6l-4 4H3zM9 13V9h4",
  video: "M2.5 4.5h7.5v7h-7.5zM10 7l3.5-2v6L10 9",
  voice: "M8 9.5a2 2 0 0 0 2-2v-3a2 2 0 1 0-4 0v3a2 2 0 0 0 2 2zM3.8 7.5a4.2 4.2 0 0 0 8.4 0M8 11.7v2",
};

/**
 * Draw an icon. It says nothing to a screen reader: the word stands beside it.
 *
 * @param {string} name One of the names above; another one is drawn as a document.
 */
export function icon(name) {
  return graphic(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    graphic("path", { d: PATHS[name] ?? PATHS.document }),
  );
}
