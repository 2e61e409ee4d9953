// What is wrong with the page as it is shown now, as a list of sentences; empty where all is well.
() => {
  const problems = [];
  const say = (text) => problems.push(text);
  const root = document.documentElement;
  const all = [...document.querySelectorAll("*")];
  const name = (element) => {
    const words = (element.textContent || "").trim().replace(/\s+/g, " ").slice(0, 40);
    const kind = element.getAttribute("class");
    return `<${element.tagName.toLowerCase()}${kind ? "." + kind : ""}> "${words}"`;
  };

  // Nothing but text, tables and drawings.
  const known = `a bdi body br caption circle code dd desc details div dl dt figcaption figure footer g h1 h2 h3 h4
    head header html i li line link main meta nav ol p path pattern defs rect section small span strong style
    summary svg table tbody td text tfoot th thead time title tr tspan ul b em abbr polygon polyline aside`;
  const allowed = new Set(known.split(/\s+/));
  for (const element of all) {
    if (!allowed.has(element.tagName.toLowerCase())) say(`${name(element)} is no part of a report`);
    for (const { name: attribute, value } of element.attributes) {
      if (/^on/i.test(attribute)) say(`${name(element)} has ${attribute}`);
      if (/^(src|srcset|data|action|formaction|background|poster|ping)$/i.test(attribute))
        say(`${name(element)} has ${attribute}`);
      if (attribute === "href" && !/^(https:\/\/|#|data:,$)/.test(value)) say(`a link leads to ${value}`);
      if (attribute === "style" && /url|expression|@import/i.test(value)) say(`a style says ${value}`);
    }
    if (element.tagName === "A" && element.href.startsWith("https:") && !/noopener/.test(element.rel))
      say(`${name(element)} tells where it comes from`);
  }
  if (/url\(|@import/.test(document.querySelector("style")?.textContent || "")) say("the style loads something");

  // What leads a reader who does not see the page.
  const ids = all.filter((element) => element.id).map((element) => element.id);
  if (new Set(ids).size !== ids.length) say("an id occurs twice");
  for (const element of document.querySelectorAll("[aria-labelledby]"))
    for (const id of element.getAttribute("aria-labelledby").split(" "))
      if (!document.getElementById(id)) say(`${name(element)} is labelled by nothing`);
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(link.getAttribute("href").slice(1))) say(`${name(link)} leads nowhere`);
  if (!root.lang || !document.title.trim()) say("no language or no title");
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) say(`${name(heading)} follows a heading of level ${level}`);
    level = next;
  }
  if (document.querySelectorAll("h1").length !== 1 || document.querySelectorAll("main").length !== 1)
    say("not one h1 and one main");
  for (const table of document.querySelectorAll("table")) {
    const named = table.caption || table.closest("[aria-label], [aria-labelledby], details");
    if (!named) say(`${name(table)} has no name`);
    for (const cell of table.querySelectorAll("th")) if (!cell.scope) say(`${name(cell)} has no scope`);
  }

  // Nothing wider than the page, and what scrolls does so by keyboard.
  if (root.scrollWidth > root.clientWidth) {
    const wide = all.filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1 && !e.closest(".scroll"));
    say(`the page is ${root.scrollWidth} wide on ${root.clientWidth}: ${wide.slice(0, 3).map(name).join(", ")}`);
  }
  for (const element of all) {
    const scrolls = /auto|scroll/.test(getComputedStyle(element).overflowX);
    if (scrolls && element.scrollWidth > element.clientWidth && element.tabIndex < 0)
      say(`${name(element)} scrolls for a mouse only`);
  }

  // Charts: a size, words, numbers, and text that can be read.
  for (const chart of document.querySelectorAll('figure svg[role="img"]')) {
    const told = (tag) => (chart.querySelector(`:scope > ${tag}`)?.textContent || "").trim();
    const which = `the chart "${told("title")}"`;
    if (!told("title") || !told("desc")) say(`${which} is not told in words`);
    const box = chart.getBoundingClientRect();
    if (box.width < 200 || box.height < 30) say(`${which} is ${box.width} × ${box.height}`);
    if (!chart.closest(".chart")?.querySelector("details table tbody tr")) say(`${which} has no numbers below`);
    if (!chart.closest("figure")?.querySelector("figcaption")) say(`${which} has no caption`);
    const scale = chart.getScreenCTM().a;
    const texts = [...chart.querySelectorAll("text")].filter((text) => text.getClientRects().length);
    const boxes = texts.map((text) => text.getBoundingClientRect());
    texts.forEach((text, at) => {
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (size < 10.95) say(`${which}: "${text.textContent}" is ${size.toFixed(1)} px high`);
      const one = boxes[at];
      if (one.left < box.left - 2 || one.right > box.right + 2 || one.bottom > box.bottom + 2 || one.top < box.top - 2)
        say(`${which}: "${text.textContent}" is cut off`);
      boxes.slice(at + 1).forEach((other, more) => {
        const over = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        const under = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
        if (over > 1 && under > 3) say(`${which}: "${text.textContent}" lies over "${texts[at + 1 + more].textContent}"`);
      });
    });
  }

  // Text stands out from what is behind it (WCAG: 4.5, and 3 where it is large).
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const seen = new Set();
  for (const element of all) {
    const has_text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!has_text || !element.getClientRects().length || element.closest("title, desc, style, head")) continue;
    const style = getComputedStyle(element);
    const ink = luminance(rgba(element.closest("svg") ? style.fill : style.color));
    const paper = luminance(behind(element));
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const kind = `${element.tagName}.${element.getAttribute("class")}`;
    if (contrast < least && !seen.has(kind)) {
      seen.add(kind);
      say(`${name(element)} has a contrast of ${contrast.toFixed(2)}`);
    }
  }
  return problems;
}
