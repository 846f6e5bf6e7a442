/**
 * Making elements. Foreign text only ever becomes a text node or an attribute, so no
 * markup in it can work.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Record<string, unknown>} attributes A function listens to the event of its
 *   name ("onclick"); `true` sets an empty attribute; `false` and `null` set none.
 * @param {...(Node|string|null|false)} children Texts become text nodes.
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an SVG element, in the same way. */
export function graphic(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

/**
 * Make a list of nodes the children of an element, moving as little as possible: what
 * stays keeps its focus, its selection and its scroll position.
 *
 * @param {Element} parent
 * @param {Node[]} nodes
 */
export function place(parent, nodes) {
  const kept = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!kept.has(child)) child.remove();
  let next = parent.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
}
