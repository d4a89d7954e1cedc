// Settings: secrets that are shown once, and the two ways of a switch.
"use strict";

(() => {
  const { $, $$, tell } = Stencil;

  // What was made is shown beside its form, and nowhere else.
  document.addEventListener("sent", (event) => {
    const { shows, in: place } = event.target.dataset;
    const secret = shows && event.detail?.[shows];
    if (!secret) return;
    const box = document.getElementById(place);
    $("output", box).textContent = secret;
    box.hidden = false;
    $("button", box).focus();
  });

  document.addEventListener("click", async (event) => {
    const box = event.target.closest(".once");
    if (!box) return;
    const output = $("output", box);
    if (event.target.matches("[data-hide]")) {
      output.textContent = "";
      box.hidden = true;
    } else if (event.target.matches("[data-copy]")) {
      try {
        await navigator.clipboard.writeText(output.textContent);
        tell("Copied", "good");
      } catch {
        // Without HTTPS there is no clipboard: select it instead.
        getSelection().selectAllChildren(output);
        tell("Press Ctrl+C to copy what is selected");
      }
    }
  });

  // <form data-disabled="true"> sends that.
  document.addEventListener("sending", (event) => {
    const { disabled } = event.target.dataset;
    if (disabled !== undefined) event.detail.body.disabled = disabled === "true";
  });

  // A secret does not stay in a page that is left.
  addEventListener("pagehide", () => {
    for (const box of $$(".once")) { $("output", box).textContent = ""; box.hidden = true; }
  });
})();
