// The editor of a rule: numbers and colours of its lines, the check as it is typed, saving.
"use strict";

(() => {
  const { $, send, tell } = Stencil;
  const CHECK_MS = 300; // of quiet, before the text is checked
  const form = $("#editor");
  const text = $("#yaml");
  const paint = $(".paint", form);
  const numbers = $(".numbers", form);
  const check = $("#check");
  const save = $("#save");
  const writable = form.dataset.writable !== undefined;
  const own = form.dataset.workflow ?? null; // the id of the workflow; null: a new one
  const newest = Number(form.dataset.newest); // its newest version, 0 if there is none
  const loaded = text.value;
  let wrong = null; // { line, column } of what is wrong
  let saved = false;

  // ---- lines ---------------------------------------------------------------

  const span = (kind, words) => {
    const element = document.createElement("span");
    element.className = kind;
    element.textContent = words;
    return element;
  };

  const TOKEN = /(#.*$)|("(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?)|([A-Za-z_][\w.-]*)(?=\s*:(?:\s|$))|(-?\b\d+(?:\.\d+)?(?:us|ms|s|m|h|d)?\b)/g;

  /** One line, coloured by what its parts are. */
  function painted(line) {
    const parts = document.createDocumentFragment();
    let at = 0;
    for (const match of line.matchAll(TOKEN)) {
      const [whole, comment, quoted, key] = match;
      // A # within a word begins no comment.
      if (comment && match.index > 0 && !/\s/.test(line[match.index - 1])) continue;
      if (match.index > at) parts.append(line.slice(at, match.index));
      const kind = comment ? "comment" : quoted ? "quoted" : key ? "key" : "number";
      parts.append(span(kind, whole));
      at = match.index + whole.length;
    }
    parts.append(line.slice(at));
    return parts;
  }

  function draw() {
    const lines = text.value.split("\n");
    const colours = document.createDocumentFragment();
    const places = document.createDocumentFragment();
    lines.forEach((line, index) => {
      const bad = wrong?.line === index + 1;
      const row = span(bad ? "line wrong" : "line", "");
      row.append(painted(line), "\n");
      colours.append(row);
      places.append(span(bad ? "wrong" : "", `${index + 1}\n`));
    });
    paint.replaceChildren(colours);
    paint.closest(".code").classList.add("painted");
    numbers.replaceChildren(places);
    follow();
  }

  function follow() {
    paint.scrollTop = text.scrollTop;
    paint.scrollLeft = text.scrollLeft;
    numbers.style.transform = `translateY(${-text.scrollTop}px)`;
  }

  text.addEventListener("scroll", follow);

  // ---- keys ----------------------------------------------------------------

  let leaving = false; // Escape was pressed: the next Tab goes on

  /** Puts words in the place of what is chosen, as typing does, so that it can be undone. */
  function type(words) {
    if (!document.execCommand("insertText", false, words)) {
      text.setRangeText(words, text.selectionStart, text.selectionEnd, "end");
      text.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }
  }

  /** The lines that the selection touches: begin and end of them in the text. */
  function touched() {
    const from = text.value.lastIndexOf("\n", text.selectionStart - 1) + 1;
    const end = text.value.indexOf("\n", Math.max(text.selectionEnd - 1, from));
    return [from, end < 0 ? text.value.length : end];
  }

  function shift(change) {
    const [from, to] = touched();
    const before = text.value.slice(from, to);
    const after = before.split("\n").map(change).join("\n");
    if (after === before) return;
    text.setSelectionRange(from, to);
    type(after);
    text.setSelectionRange(from, from + after.length);
  }

  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      leaving = true;
      return;
    }
    const wasLeaving = leaving;
    if (event.key !== "Shift") leaving = false;
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || !writable) return;
    if (event.key === "Tab" && !wasLeaving) {
      event.preventDefault();
      if (event.shiftKey) shift((line) => line.replace(/^ {1,2}/, ""));
      else if (text.selectionStart !== text.selectionEnd) shift((line) => (line ? `  ${line}` : line));
      else type("  ");
    } else if (event.key === "Enter" && text.selectionStart === text.selectionEnd) {
      // The next line begins where this one does, or deeper after a colon or a dash.
      const line = text.value.slice(touched()[0], text.selectionStart);
      const indent = /^ */.exec(line)[0];
      const deeper = /:\s*$/.test(line) ? "  " : "";
      if (!indent && !deeper) return;
      event.preventDefault();
      type(`\n${indent}${deeper}`);
    }
  });
  text.addEventListener("blur", () => { leaving = false; });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    event.preventDefault();
    if (writable) form.requestSubmit();
  });

  // ---- versions ------------------------------------------------------------

  const idOf = (yaml) => /^id:[ \t]*["']?([A-Za-z0-9._-]+)/m.exec(yaml)?.[1] ?? null;
  const versionOf = (yaml) => Number(/^version:[ \t]*(\d+)/m.exec(yaml)?.[1] ?? NaN);

  /** The text with this version. */
  function withVersion(yaml, version) {
    if (/^version:.*$/m.test(yaml)) {
      return yaml.replace(/^version:[ \t]*\d*/m, `version: ${version}`);
    }
    return yaml.replace(/^(id:.*)$/m, `$1\nversion: ${version}`);
  }

  /** The version that saving makes: a kept one never changes. */
  function next() {
    const version = versionOf(text.value);
    if (idOf(text.value) !== own) return Number.isNaN(version) ? 1 : version;
    if (text.value === loaded && version === newest) return null; // nothing is new
    return Number.isNaN(version) || version <= newest ? newest + 1 : version;
  }

  function label() {
    if (!save) return;
    const version = next();
    if (version === null) save.textContent = `Version ${newest} is saved`;
    else if (own && idOf(text.value) === own) save.textContent = `Save as version ${version}`;
    else save.textContent = own ? "Save as a new rule" : "Save";
    save.disabled = version === null;
  }

  // ---- the check -----------------------------------------------------------

  let quiet = 0;
  let asked = 0;

  function say(kind, ...parts) {
    check.className = `check ${kind}`;
    check.replaceChildren(...parts);
  }

  const paragraph = (words, kind = "") => {
    const element = document.createElement("p");
    element.className = kind;
    element.textContent = words;
    return element;
  };

  /** Puts the cursor where something is wrong. */
  function go(line, column) {
    const lines = text.value.split("\n");
    const before = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    const characters = [...(lines[line - 1] ?? "")].slice(0, Math.max(column - 1, 0)).join("");
    text.focus();
    text.setSelectionRange(before + characters.length, before + characters.length);
    const height = parseFloat(getComputedStyle(text).lineHeight);
    text.scrollTop = Math.max(0, (line - 4) * height);
  }

  function mark(place) {
    wrong = place;
    text.setAttribute("aria-invalid", String(Boolean(place)));
    draw();
  }

  /** Shows what is wrong, with its place as a button that leads there. */
  function complain(at, problem, suggestion) {
    const first = document.createElement("p");
    if (at) {
      const place = document.createElement("button");
      place.type = "button";
      place.className = "place";
      place.textContent = `Line ${at.line}, column ${at.column}`;
      place.addEventListener("click", () => go(at.line, at.column));
      first.append(place, " ");
    }
    first.append(problem);
    say("bad", first, ...(suggestion ? [paragraph(`Right would be: ${suggestion}`, "dim")] : []));
    mark(at);
  }

  async function checkNow() {
    const number = ++asked;
    const answer = await send("POST", "/api/v1/workflows/check", { definition: text.value });
    if (number !== asked) return null; // a later text is on its way
    if (!answer.ok) {
      mark(null);
      say("bad", paragraph(answer.problem));
      return false;
    }
    const said = answer.data;
    if (!said.ok) {
      complain({ line: said.line, column: said.column }, said.problem, said.suggestion);
      return false;
    }
    mark(null);
    const warnings = (said.warnings ?? []).map((warning) => paragraph(`Look at this again: ${warning}.`));
    say("good", paragraph(`Well formed. ${said.summary}`), ...warnings);
    return true;
  }

  function changed() {
    label();
    draw();
    clearTimeout(quiet);
    quiet = setTimeout(checkNow, CHECK_MS);
  }

  text.addEventListener("input", changed);

  // ---- saving --------------------------------------------------------------

  async function put(yaml) {
    const id = idOf(yaml);
    if (!id) {
      complain(null, "There is no id.", "begin with a line such as `id: freezer-warm`");
      text.focus();
      return;
    }
    if (save) save.disabled = true;
    const answer = await send("PUT", `/api/v1/workflows/${encodeURIComponent(id)}`, yaml,
      { "content-type": "application/yaml" });
    if (answer.ok) {
      saved = true;
      sessionStorage.setItem("told", `Version ${versionOf(yaml)} of ${id} is in force.`);
      location.assign(`/workflows/${encodeURIComponent(id)}`);
      return;
    }
    label();
    const error = answer.data?.errors?.[0];
    if (error?.line) complain({ line: error.line, column: error.column }, error.what, error.right);
    else complain(null, answer.problem, error?.right);
    tell("Not saved: see what is said below the text.", "bad");
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const version = next();
    if (!writable || version === null) return;
    if (version !== versionOf(text.value)) {
      // As if it was typed, so that it can be undone.
      const place = text.selectionStart;
      text.focus();
      text.select();
      type(withVersion(text.value, version));
      text.setSelectionRange(place, place);
    }
    put(text.value);
  });

  $("#restart")?.addEventListener("click", () => put(loaded));

  addEventListener("beforeunload", (event) => {
    if (!saved && writable && text.value !== loaded) event.preventDefault();
  });

  const told = sessionStorage.getItem("told");
  if (told) {
    sessionStorage.removeItem("told");
    tell(told, "good");
  }
  // What a browser kept of a page that was left is no change of ours.
  label();
  draw();
  if (text.value.trim()) checkNow();
})();
