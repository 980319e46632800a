// Looks at a page as a reader's browser has it. What it finds stands in #found at the end, a finding between two bars.
(() => {
  const found = [];
  const say = (kind, text) => found.push(kind + ": " + String(text).replace(/[<>&|\n]/g, " ").slice(0, 160));
  window.addEventListener("error", (event) => say("script", event.message));
  document.addEventListener("securitypolicyviolation", (event) => say("request", event.blockedURI));

  const parse = (color) => {
    const all = (color.match(/[\d.]+/g) || []).map(Number);
    return { rgb: all.slice(0, 3), alpha: all.length > 3 ? all[3] : 1 };
  };
  // WCAG 2.2, relative luminance and contrast ratio.
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const paper = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { rgb, alpha } = parse(getComputedStyle(at).backgroundColor);
      if (alpha > 0.99) return rgb;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  };

  const texts = () => {
    let count = 0;
    for (const element of document.querySelectorAll("body, body *")) {
      const has = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      if (!has || ["SCRIPT", "STYLE", "title"].includes(element.tagName)) continue;
      count += 1;
      const style = getComputedStyle(element);
      const ink = parse(element instanceof SVGElement ? style.fill : style.color);
      const ratio = contrast(ink.rgb, paper(element));
      if (ratio < 4.5 || ink.alpha < 0.99) say("contrast", ratio.toFixed(2) + " of " + element.tagName + " " + element.textContent.trim());
    }
    return count;
  };

  const plots = (least) => {
    const all = [...document.querySelectorAll("svg")];
    for (const svg of all) {
      const name = svg.getAttribute("aria-label");
      const frame = svg.getBoundingClientRect();
      const scale = frame.width / svg.viewBox.baseVal.width;
      const boxes = [...svg.querySelectorAll("text")].map((text) => {
        const size = parseFloat(getComputedStyle(text).fontSize) * scale;
        if (size < least) say("small", size.toFixed(1) + " px in " + name + ": " + text.textContent);
        return [text.textContent, text.getBoundingClientRect()];
      });
      if (boxes.length === 0 || frame.width < 100) say("empty", name);
      boxes.forEach(([text, box], at) => {
        if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
          say("outside", text + " in " + name);
        for (const [other, over] of boxes.slice(at + 1)) {
          const [x, y] = [Math.min(box.right, over.right) - Math.max(box.left, over.left), Math.min(box.bottom, over.bottom) - Math.max(box.top, over.top)];
          // Boxes of lines have some air above and below the letters.
          if (x > 0.5 && y > 0.25 * Math.min(box.height, over.height)) say("overlap", text + " and " + other + " in " + name);
        }
      });
      for (const line of svg.querySelectorAll("polyline, rect")) {
        const style = getComputedStyle(line);
        const colour = parse(line.tagName === "rect" ? style.fill : style.stroke).rgb;
        if (contrast(colour, paper(svg)) < 3) say("contrast", "a line or bar of " + name);
        if (line.tagName === "polyline" && !line.getAttribute("points")) say("empty", "a line of " + name);
      }
    }
    return all.length;
  };

  const tables = () => {
    const all = [...document.querySelectorAll("table")];
    for (const table of all) {
      const counts = new Set([...table.rows].map((row) => row.cells.length));
      if (counts.size !== 1 || table.tBodies[0].rows.length === 0) say("table", "rows with " + [...counts].join(", ") + " cells: " + table.textContent);
    }
    return all.length;
  };

  window.addEventListener("load", () => {
    const root = document.documentElement;
    if (root.scrollWidth > innerWidth) say("overflow", root.scrollWidth + " px on " + innerWidth);
    if (/NaN|undefined|Infinity/.test(document.body.innerText)) say("figure", "something is no number");
    const resources = performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("data:"));
    if (!window.mayLoad) resources.forEach((entry) => say("request", entry.name));
    for (const image of document.images) if (!image.complete || image.naturalWidth === 0) say("image", image.src);
    const heads = [...document.querySelectorAll("h1, h2, h3, figcaption")].map((head) => head.textContent);
    const counts = [["width", innerWidth], ["dark", matchMedia("(prefers-color-scheme: dark)").matches],
      ["texts", texts()], ["plots", plots(9)], ["tables", tables()], ["images", document.images.length]];
    const end = document.createElement("pre");
    end.id = "found";
    end.textContent = counts.map((pair) => pair.join("=")).join(" ") + "|" + found.join("|") + "|"
      + heads.map((head) => "head: " + head.replace(/[<>&|\n]/g, " ")).join("|");
    document.body.append(end);
  });
})();
