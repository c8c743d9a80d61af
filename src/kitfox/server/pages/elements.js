// Elements of the page: made from text, never from markup.

/**
 * Makes an element.
 * @param {string} name The tag.
 * @param {Record<string, any>} [attributes] Attributes; functions are listeners, `class` a class.
 * @param {...(Node | string | null | undefined)} children Nodes and texts.
 * @returns {any} The element.
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/**
 * The part of Markdown that docstrings use: paragraphs, lists, code, `code` and **strong**.
 * @param {string} text What to show.
 * @returns {DocumentFragment} Its elements.
 */
export function markdown(text) {
  const result = document.createDocumentFragment();
  for (const block of text.split(/\n{2,}/).filter((item) => item.trim())) {
    const lines = block.split("\n");
    if (lines.every((line) => /^( {4}|\t)/.test(line) || !line.trim())) {
      result.append(element("pre", {}, lines.map((line) => line.replace(/^( {4}|\t)/, "")).join("\n")));
    } else if (/^\s*[-*] /.test(lines[0])) {
      const items = block.split(/\n(?=\s*[-*] )/).map((item) => item.replace(/^\s*[-*] /, ""));
      result.append(element("ul", {}, ...items.map((item) => element("li", {}, inline(item)))));
    } else {
      result.append(element("p", {}, inline(block)));
    }
  }
  return result;
}

/**
 * @param {string} text A paragraph.
 * @returns {DocumentFragment} Its texts and elements.
 */
function inline(text) {
  const result = document.createDocumentFragment();
  for (const part of text.split(/(``?[^`]+``?|\*\*[^*]+\*\*)/)) {
    if (part.startsWith("`")) result.append(element("code", {}, part.replace(/^`+|`+$/g, "")));
    else if (part.startsWith("**")) result.append(element("strong", {}, part.slice(2, -2)));
    else result.append(part);
  }
  return result;
}
