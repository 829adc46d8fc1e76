"""The explorer's script: draws the chosen user and answers mouse and keyboard. Data enter as text nodes only."""

from typing import Final

SCRIPT: Final = r"""
"use strict";
(() => {
  const source = document.getElementById("histories");
  if (!source) return;
  const data = JSON.parse(source.textContent), SVG = "http://www.w3.org/2000/svg";
  let STEP = 22;
  const LANE = 34, TOP = 34, LANES = 7, ROWS = 100;
  const byId = (id) => document.getElementById(id);
  const make = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const draw = (name, attributes = {}, ...children) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const two = (n) => String(n).padStart(2, "0");
  const day = (s) => new Date(s * 1000).toISOString().slice(0, 10);
  const time = (s) => new Date(s * 1000).toISOString().slice(11, 19);
  const span = (s) => s < 60 ? s + " s" : s < 3600 ? Math.round(s / 60) + " min" : (s / 3600).toFixed(1) + " h";
  const themeName = (id) => id === 1 ? "no theme" : data.themes[id] || "theme " + id;
  const several = (n, word) => n + " " + word + (n === 1 ? "" : "s");

  // The user's most visited themes have a lane each; the others share one.
  const lanesOf = (user) => {
    const counts = new Map();
    user.sessions.forEach((s) => counts.set(s.theme, (counts.get(s.theme) || 0) + 1));
    const own = [...counts.keys()].filter((id) => id !== 1)
      .sort((a, b) => counts.get(b) - counts.get(a) || a - b);
    const named = own.slice(0, LANES).map((id, at) => ({id, name: themeName(id), color: `var(--c${at + 1})`}));
    const place = new Map(named.map((lane, at) => [lane.id, at]));
    if (own.length > LANES) {
      named.push({name: several(own.length - LANES, "other theme"), color: "var(--mute)"});
      own.slice(LANES).forEach((id) => place.set(id, named.length - 1));
    }
    if (counts.has(1)) { named.push({name: "no theme", color: "var(--axis)"}); place.set(1, named.length - 1); }
    return {lanes: named, place};
  };
  const eventsOf = (user, session) => user.events.s.flatMap((s, at) => s === session.o ? [at] : []);
  const verdict = (s) => s.back ? `return after ${several(s.lag, "session")} elsewhere`
    : s.hop === null ? "undecided" : s.hop ? "hop" : "stays near";
  const facts = (user, s) => [
    ["Session", String(s.o)], ["From", `${day(s.from)} ${time(s.from)} UTC`], ["Length", span(s.to - s.from)],
    ["Events", String(s.n)], ["Theme", themeName(s.theme)], ["Verdict", verdict(s)],
    ["p-value", s.p === null ? "–" : String(s.p)],
  ];
  const eventLine = (user, at) => {
    const e = user.events;
    return [["Time", `${day(e.t[at])} ${time(e.t[at])} UTC`], ["Type", data.types[e.k[at]]],
      ["Category", data.categories[e.c[at]]], ["Item", data.items[e.i[at]]]];
  };

  const shape = (s, x, y, color) => {
    const r = Math.min(9, 3.5 + 1.4 * Math.sqrt(s.n));
    if (s.hop === null) return [draw("circle", {cx: x, cy: y, r, fill: "var(--page)", stroke: color, "stroke-width": 2})];
    if (!s.hop) return [draw("circle", {cx: x, cy: y, r, fill: color})];
    const d = s.back ? r * 0.95 : r * 1.25;
    const parts = [draw("path", {d: `M${x} ${y - d}L${x + d} ${y}L${x} ${y + d}L${x - d} ${y}Z`, fill: color})];
    if (s.back) parts.push(draw("circle", {cx: x, cy: y, r: r + 2.5, fill: "none", stroke: color, "stroke-width": 1.5}));
    return parts;
  };

  let user = null, marks = [];
  const select = (at, focus) => {
    const s = user.sessions[at];
    marks.forEach((mark, place) => {
      mark.setAttribute("aria-pressed", String(place === at));
      mark.setAttribute("tabindex", place === at ? "0" : "-1");
    });
    const box = byId("lanes"), x = at * STEP;
    if (x < box.scrollLeft + STEP || x > box.scrollLeft + box.clientWidth - 2 * STEP)
      box.scrollLeft = x - box.clientWidth / 2;
    if (focus) marks[at].focus({preventScroll: true});
    const list = make("dl", {class: "facts"});
    facts(user, s).forEach(([name, value]) => list.append(make("dt", {}, name), make("dd", {}, value)));
    const rows = eventsOf(user, s);
    const body = make("tbody");
    rows.slice(0, ROWS).forEach((place) => body.append(make("tr", {},
      ...eventLine(user, place).map(([name, value]) => make("td", {}, name === "Time" ? value.slice(11, 19) : value)))));
    const head = make("thead", {}, make("tr", {}, ...["Time (UTC)", "Type", "Category", "Item"].map((name) =>
      make("th", {scope: "col"}, name))));
    const table = make("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Events of the session"},
      make("table", {}, make("caption", {}, "Events of the session"), head, body));
    const more = rows.length < s.n || rows.length > ROWS
      ? [make("p", {class: "note"}, `${Math.min(rows.length, ROWS)} of ${s.n} events are shown.`)] : [];
    byId("user-session").replaceChildren(list, table, ...more);
  };

  const timeline = () => {
    const {lanes, place} = lanesOf(user), n = user.sessions.length;
    STEP = Math.max(22, Math.min(72, Math.floor((byId("lanes").clientWidth - 24) / Math.max(1, n))));
    const width = n * STEP + 16, height = TOP + lanes.length * LANE + 22;
    const X = (at) => STEP / 2 + 4 + at * STEP, Y = (s) => TOP + (place.get(s.theme) + 0.5) * LANE;
    byId("lane-names").replaceChildren(...lanes.map((lane) => {
      const swatch = make("i");
      swatch.style.background = lane.color;
      return make("div", {title: lane.name}, swatch, lane.name);
    }));
    const svg = draw("svg", {width, height});
    lanes.forEach((_, at) => {
      const y = TOP + (at + 0.5) * LANE;
      svg.append(draw("line", {class: "lane", x1: 0, x2: width, y1: y, y2: y}));
    });
    let written = -1e9;
    user.sessions.forEach((s, at) => {
      if (at && day(s.from) === day(user.sessions[at - 1].from)) return;
      const x = X(at) - STEP / 2;
      svg.append(draw("line", {class: "day", x1: x, x2: x, y1: 20, y2: height - 20}));
      if (x - written < 92) return;
      written = x;
      const last = x + 76 > width;
      svg.append(draw("text", {x: last ? width : x + 3, y: 14, "text-anchor": last ? "end" : "start"}, day(s.from)));
    });
    user.sessions.forEach((s, at) => {
      if (at % 5 === 0) svg.append(draw("text", {x: X(at), y: height - 6, "text-anchor": "middle"}, String(s.o)));
    });
    const way = user.sessions.map((s, at) => `${at ? "L" : "M"}${X(at)} ${Y(s)}`).join("");
    svg.append(draw("path", {class: "way", d: way}));
    const seen = new Map();
    user.sessions.forEach((s, at) => {
      const before = seen.get(s.theme);
      if (s.back && before !== undefined) {
        const d = `M${X(before)} ${Y(s)}L${X(at)} ${Y(s)}`;
        svg.append(draw("path", {class: "left", d, stroke: lanes[place.get(s.theme)].color}));
      }
      seen.set(s.theme, at);
    });
    marks = user.sessions.map((s, at) => {
      const said = facts(user, s).map(([name, value]) => `${name} ${value}`).join(", ");
      const mark = draw("g", {class: "mark", role: "button", tabindex: "-1", "aria-label": said, "data-session": s.o},
        draw("rect", {class: "hit", x: X(at) - STEP / 2, y: Y(s) - LANE / 2, width: STEP, height: LANE}),
        ...shape(s, X(at), Y(s), lanes[place.get(s.theme)].color),
        draw("rect", {class: "halo", x: X(at) - 10, y: Y(s) - 14, width: 20, height: 28, rx: 5}));
      const told = () => {
        const first = eventsOf(user, s).slice(0, 3).map((e) => data.items[user.events.i[e]]);
        showTip(mark.getBoundingClientRect(), [...facts(user, s), ["First items", first.join("\n")]]);
      };
      mark.addEventListener("mouseenter", told);
      mark.addEventListener("mouseleave", hideTip);
      mark.addEventListener("blur", hideTip);
      mark.addEventListener("click", () => select(at, true));
      return mark;
    });
    svg.append(...marks);
    byId("lanes").replaceChildren(svg);
    byId("lanes").scrollLeft = width;
    return {lanes, place};
  };

  const keyName = (family, key) => ({
    recent: () => "latest events", session: () => "session " + key, theme: () => themeName(key),
    category: () => data.categories[key], mode: () => data.modes[key - 1] || "mode " + key,
  })[family]();

  const strands = ({lanes, place}) => {
    const themeOf = new Map(user.sessions.map((s) => [s.o, s.theme]));
    byId("user-strands").replaceChildren(...user.strands.map((family) => {
      const placed = family.strands.reduce((sum, strand) => sum + strand.at.length, 0);
      const all = family.most * family.width;
      const said = `${family.strands.length} of ${several(family.most, "strand")}, ${placed} of ${all} places, ` +
        `${family.dropped} of ${several(family.length, "event")} left out`;
      const rows = family.strands.map((strand) => {
        const name = keyName(family.family, strand.key);
        const label = `${name}: ${strand.at.length} of ${family.width} places filled`;
        const places = make("div", {class: "places", role: "img", "aria-label": label});
        strand.at.forEach((at) => {
          const cell = make("i");
          if (at >= 0) {
            const theme = themeOf.get(user.events.s[at]), lane = lanes[place.get(theme)];
            cell.style.background = lane ? lane.color : "var(--mute)";
            cell.addEventListener("mouseenter", () =>
              showTip(cell.getBoundingClientRect(), [["Strand", name], ...eventLine(user, at)]));
            cell.addEventListener("mouseleave", hideTip);
          } else cell.style.background = "var(--mute)";
          places.append(cell);
        });
        for (let rest = strand.at.length; rest < family.width; rest++) places.append(make("i"));
        return make("div", {class: "strand"}, make("span", {title: name}, name), places);
      });
      return make("div", {class: "family"}, make("p", {}, make("strong", {}, family.family), " – " + said), ...rows);
    }));
  };

  const buttons = [...document.querySelectorAll(".person")];
  const show = (at, focus) => {
    user = data.users[at];
    hideTip();
    buttons.forEach((button, place) => {
      button.setAttribute("aria-pressed", String(place === at));
      button.tabIndex = place === at ? 0 : -1;
    });
    if (focus) buttons[at].focus();
    byId("who").textContent = "User " + user.user_id;
    const kept = user.events.t.length;
    byId("why").textContent = user.why + (user.sessions.length && user.sessions[0].o > 1
      ? `; shown are the latest ${several(user.sessions.length, "session")} with ${several(kept, "event")}.` : ".");
    strands(timeline());
    if (user.sessions.length) select(user.sessions.length - 1, false);
  };
  const steps = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -1e9, End: 1e9};
  const moved = (event, at, length) => {
    const step = steps[event.key];
    if (!step) return null;
    event.preventDefault();
    return Math.min(Math.max(at + step, 0), length - 1);
  };
  buttons.forEach((button, at) => {
    button.addEventListener("click", () => show(at, false));
    button.addEventListener("keydown", (event) => {
      const next = moved(event, at, buttons.length);
      if (next !== null) show(next, true);
    });
  });
  byId("lanes").addEventListener("keydown", (event) => {
    const at = marks.findIndex((mark) => mark.getAttribute("aria-pressed") === "true");
    const next = moved(event, at, marks.length);
    if (next !== null) select(next, true);
    else if ((event.key === "Enter" || event.key === " ") && at >= 0) { event.preventDefault(); select(at, true); }
  });
  if (data.users.length) show(0, false);
})();
"""
