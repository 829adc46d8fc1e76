"""What runs in every page: the theme switch, figures, tooltips by mouse and keyboard.

Data reach the page as text nodes only (``textContent``), never as markup. ``window.pageReady`` resolves when
every figure is drawn; ``window.showTip(element, pairs)`` and ``hideTip()`` serve a page's own script too.
"""

SCRIPT = r"""
"use strict";
(() => {
  const root = document.documentElement, button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme || "auto") + 1) % 3];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    button.textContent = "Theme: " + next;
  });

  const tip = document.getElementById("tip");
  window.hideTip = () => { tip.hidden = true; };
  // pairs: [[name, value], …]; box: what the tooltip stands beside, in the window's coordinates
  window.showTip = (box, pairs) => {
    tip.replaceChildren(...pairs.map(([name, value]) => {
      const [row, key, text] = ["div", "b", "span"].map((name) => document.createElement(name));
      key.textContent = name; text.textContent = value;
      row.append(key, text);
      return row;
    }));
    tip.hidden = false;
    const own = tip.getBoundingClientRect(), gap = 10;
    const middle = box.left + box.width / 2 - own.width / 2;
    const left = Math.min(Math.max(gap, middle), innerWidth - own.width - gap);
    const above = box.top - own.height - gap;
    tip.style.transform = `translate(${left}px,${above > gap ? above : box.bottom + gap}px)`;
  };
  const pairsOf = (value) => typeof value === "object" && value !== null
    ? Object.entries(value).map(([name, one]) => [name, String(one)]) : [["", String(value)]];

  // Marks that say something, in reading order: those with a tooltip.
  const speaking = (chart) => [...chart.querySelectorAll("svg path, svg rect, svg text, svg line")]
    .filter((node) => node.__data__ && node.__data__.tooltip && node.__data__.mark);
  const byKeys = (chart) => {
    let at = -1, marked = null;
    const leave = () => { if (marked) marked.classList.remove("at"); marked = null; hideTip(); };
    chart.addEventListener("keydown", (event) => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -1e9, End: 1e9}[event.key];
      if (event.key === "Escape") leave();
      const nodes = step ? speaking(chart) : [];
      if (!nodes.length) return;
      event.preventDefault();
      leave();
      at = Math.min(Math.max(at + step, 0), nodes.length - 1);
      marked = nodes[at];
      marked.classList.add("at");
      showTip(marked.getBoundingClientRect(), pairsOf(marked.__data__.tooltip));
    });
    chart.addEventListener("blur", leave);
  };

  // Draws a Vega-Lite specification into an element; the promise is of its view.
  window.drawFigure = (chart, spec) => {
    const tooltip = (_, event, item, value) => {
      if (value === null || value === undefined || value === "") return hideTip();
      const place = {left: event.clientX, top: event.clientY - 6, width: 0, bottom: event.clientY + 12};
      showTip(place, pairsOf(value));
    };
    if (!chart.dataset.keys) { chart.dataset.keys = "yes"; byKeys(chart); }
    const options = {mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false};
    return vegaEmbed(chart, spec, {...options, config: CONFIG, tooltip}).then((drawn) => drawn.view);
  };

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    links.forEach((link, id) => link.classList.toggle("here", id === entry.target.id));
  }), {rootMargin: "-10% 0px -80% 0px"});
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));

  // One after another, so that the page answers while they are drawn.
  window.pageReady = (async () => {
    for (const chart of document.querySelectorAll(".chart[id]")) {
      const spec = document.getElementById(chart.id + "-spec");
      if (!spec) continue;
      try { await drawFigure(chart, JSON.parse(spec.textContent)); }
      catch (error) {
        chart.textContent = "This figure could not be drawn: " + error.message;
        console.error(error);
      }
      await new Promise((done) => setTimeout(done));
    }
    document.body.dataset.ready = "yes";
  })();
})();
"""
