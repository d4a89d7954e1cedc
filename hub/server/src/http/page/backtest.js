// The backtest: runs the editor's text over a range of the past, and shows when it would have
// been true, beside what really happened.
"use strict";

(() => {
  const { $, $$, shown, utc } = Stencil;
  const card = $("#backtest");
  const form = $("#backtest-form");
  const from = $("#backtest-from");
  const to = $("#backtest-to");
  const run = $("#backtest-run");
  const stop = $("#backtest-stop");
  const busy = $("#backtest-busy");
  const said = $("#backtest-said");
  const cut = $("#backtest-cut");
  const chart = $("#backtest-chart");
  const device = $("#backtest-device");
  const figure = $("#backtest-figure");
  const table = $("#backtest-table");
  const rows = $("#firings");
  const SVG = "http://www.w3.org/2000/svg";
  let outcome = null;
  let running = null; // what can stop it

  const field = (us) => new Date(us / 1000).toISOString().slice(0, 19);
  const time = (input) => Date.parse(`${input.value}Z`) * 1000;
  const plain = (us) => utc(us).replace(" UTC", "");
  const many = (count, one, more = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : more}`;

  function length(us) {
    const seconds = us / 1e6;
    if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 86400) return `${(seconds / 3600).toFixed(1)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  }

  // ---- the range -----------------------------------------------------------

  function preset(button) {
    const end = Number(card.dataset.newest) + 1e6; // that moment itself is in the range
    to.value = field(end);
    from.value = field(end - Number(button.dataset.range) * 1e6);
    pressed();
  }

  /** Which of the ranges the two fields say. */
  function pressed() {
    const seconds = Math.round((time(to) - time(from)) / 1e6);
    for (const button of $$("[data-range]", form)) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.range) === seconds));
    }
  }

  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-range]");
    if (button) preset(button);
  });
  for (const input of [from, to]) input.addEventListener("input", pressed);
  preset($$("[data-range]", form)[1]);

  // ---- asking --------------------------------------------------------------

  function going(on) {
    busy.hidden = !on;
    stop.hidden = !on;
    run.disabled = on;
  }

  function wrong(text) {
    said.className = "bad";
    said.textContent = text;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [from_us, to_us] = [time(from), time(to)];
    if (!(from_us < to_us)) {
      wrong("The range ends before it begins.");
      from.focus();
      return;
    }
    running = new AbortController();
    going(true);
    said.className = "";
    said.textContent = `Looking at ${length(to_us - from_us)} of what is stored…`;
    chart.hidden = table.hidden = cut.hidden = true;
    try {
      const answer = await fetch("/api/v1/backtest", {
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/json" },
        body: JSON.stringify({ definition: $("#yaml").value, from_us, to_us }),
        signal: running.signal,
      });
      const data = await answer.json().catch(() => null);
      if (answer.ok) {
        await tellAll(data);
      } else {
        const error = data?.errors?.[0];
        wrong(error?.line
          ? `Line ${error.line}, column ${error.column}: ${error.what}. Right would be: ${error.right}.`
          : data?.detail ?? `The hub answered ${answer.status}.`);
      }
    } catch (error) {
      wrong(error.name === "AbortError" ? "Stopped." : "The hub does not answer.");
    } finally {
      running = null;
      going(false);
    }
  });
  stop.addEventListener("click", () => running?.abort());

  // ---- telling -------------------------------------------------------------

  function sentence() {
    const { firings, samples, devices, would_run, would_raise, active_version, actual } = outcome;
    const looked = `Looked at ${many(samples, "sample")} of ${many(devices, "device")}`;
    const leads = [would_raise && many(would_raise, "alarm"), would_run && many(would_run, "run")]
      .filter(Boolean).join(" and ");
    const would = firings.length === 0 ? "it would not have fired"
      : `it would have fired ${many(Math.max(firings.length, would_run, would_raise), "time")}, with ${leads}`;
    const did = actual.length === 0
      ? active_version ? `version ${active_version}, in force, did nothing` : "nothing happened really"
      : `really there were ${[
        many(actual.filter((one) => one.alarm).length, "alarm"),
        many(actual.filter((one) => one.run).length, "run"),
      ].join(" and ")}`;
    return `${looked}: ${would}; ${did}.`;
  }

  async function tellAll(data) {
    outcome = data;
    said.className = data.firings.length ? "warn" : "good";
    said.textContent = sentence();
    if (data.truncated) {
      const through = data.through_us < data.to_us
        ? ` It was looked at up to ${utc(data.through_us)}.` : "";
      cut.textContent = `Not all of it: ${data.truncated}.${through}`;
      cut.hidden = false;
    }
    const counts = new Map();
    for (const one of data.firings) counts.set(one.device, (counts.get(one.device) ?? 0) + 1);
    for (const one of data.actual) if (!counts.has(one.device)) counts.set(one.device, 0);
    device.replaceChildren(...[...counts].map(([name, count]) => {
      const option = document.createElement("option");
      option.value = name;
      option.textContent = `${name} (${many(count, "firing")})`;
      return option;
    }));
    list();
    chart.hidden = counts.size === 0;
    if (counts.size > 0) await draw();
  }

  function cell(label, ...content) {
    const element = document.createElement("td");
    element.dataset.label = label;
    element.append(...content);
    return element;
  }

  /** What really happened during a firing, as links. */
  function during(firing) {
    const end = firing.cleared_us ?? outcome.to_us;
    const found = outcome.actual.filter((one) =>
      one.device === firing.device && one.at_us >= firing.since_us && one.at_us <= end);
    return found.slice(0, 2).flatMap((one) => {
      const link = document.createElement("a");
      link.href = one.alarm ? `/alarms/${one.alarm}` : `/runs/${one.run}`;
      link.textContent = one.alarm ? "alarm" : "run";
      return [link, " "];
    });
  }

  function list() {
    rows.replaceChildren(...outcome.firings.map((firing) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = firing.device;
      const real = during(firing);
      row.append(
        head,
        cell("True since", plain(firing.since_us)),
        cell("Fired", plain(firing.at_us)),
        cell("Cleared", firing.cleared_us === null ? "not by the end" : plain(firing.cleared_us)),
        cell("Lasted", length((firing.cleared_us ?? outcome.through_us) - firing.at_us)),
        cell("Value", firing.value === null ? "none" : shown(firing.value)),
        cell("In force", ...(real.length ? real : ["nothing"])),
      );
      for (const number of [4, 5]) row.children[number].className = "num";
      return row;
    }));
    table.hidden = outcome.firings.length === 0;
  }

  // ---- the picture ---------------------------------------------------------

  const element = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  async function draw() {
    const name = /name:[ \t]*["']?([^"',}\n]+)/.exec($("#yaml").value)?.[1].trim();
    const asked = new URLSearchParams({
      device: device.value, from_us: outcome.from_us, to_us: outcome.to_us,
    });
    if (name) asked.set("name", name);
    const answer = await fetch(`/live/figure?${asked}`, { headers: { accept: "text/html" } });
    if (!answer.ok) {
      figure.textContent = "There are no numbers to draw.";
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    figure.replaceChildren(page.body.firstElementChild);
    shade();
  }

  /** Shades where the text would have been true, and marks what happened, in lanes of their own. */
  function shade() {
    const plot = $("#plot", figure);
    const layer = $(".shades", figure);
    const width = plot.viewBox.baseVal.width;
    const [left, right] = [Number(plot.dataset.left) * width, Number(plot.dataset.right) * width];
    const place = (us) => {
      const share = (us - outcome.from_us) / (outcome.to_us - outcome.from_us);
      return left + Math.min(Math.max(share, 0), 1) * (right - left);
    };
    const own = (one) => one.device === device.value;
    const lanes = element("svg", { class: "lanes", viewBox: `0 0 ${width} 48`, role: "img" });
    const words = element("title", {});
    words.textContent = "Above: when the text would have been true. Below: what happened. The table says the same.";
    lanes.append(words);
    for (const [y, label] of [[4, "draft"], [28, "in force"]]) {
      const text = element("text", { x: left - 6, y: y + 12, "text-anchor": "end" });
      text.textContent = label;
      lanes.append(text, element("line", { class: "rail", x1: left, x2: right, y1: y + 8, y2: y + 8 }));
    }
    for (const firing of outcome.firings.filter(own)) {
      const [begin, end] = [place(firing.at_us), place(firing.cleared_us ?? outcome.through_us)];
      const size = Math.max(end - begin, 2);
      layer.append(element("rect", {
        class: "shade would", x: begin, width: size, y: 10, height: layer.viewBox.baseVal.height - 38,
      }));
      lanes.append(element("rect", { class: "would", x: begin, width: size, y: 4, height: 16, rx: 2 }));
    }
    for (const one of outcome.actual.filter(own)) {
      const begin = place(one.at_us);
      const end = one.alarm ? place(one.cleared_us ?? outcome.to_us) : begin;
      lanes.append(element("rect", {
        class: one.alarm ? "did" : "did run", x: begin, width: Math.max(end - begin, 3), y: 28, height: 16, rx: 2,
      }));
    }
    $(".layers", figure).after(lanes);
  }

  device.addEventListener("change", draw);
})();
