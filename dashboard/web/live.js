// Brings the page up to date every few seconds, as long as it is looked at and nothing in it is being filled in.
"use strict";
(() => {
  const box = document.getElementById("live");
  const key = "pegasus-live";
  if (localStorage.getItem(key) === "off") box.checked = false;
  box.addEventListener("change", () => localStorage.setItem(key, box.checked ? "on" : "off"));
  const busy = (main) =>
    document.hidden || !box.checked || main.querySelector("details[open], input:focus, select:focus") || String(getSelection()) !== "";
  let running = false;
  setInterval(async () => {
    const main = document.getElementById("main");
    if (running || busy(main)) return;
    running = true;
    try {
      const at = new URL(location.href);
      at.searchParams.delete("said");
      const answer = await fetch(at, { headers: { Accept: "text/html" } });
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      if (next && !busy(main)) {
        const focus = document.activeElement && document.activeElement.getAttribute("href");
        main.replaceChildren(...next.childNodes);
        if (focus) main.querySelector(`a[href="${CSS.escape(focus)}"]`)?.focus();
      }
      document.body.classList.remove("stale");
    } catch {
      document.body.classList.add("stale");
    } finally {
      running = false;
    }
  }, 5000);
})();
