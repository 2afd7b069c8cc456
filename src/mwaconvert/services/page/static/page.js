// Keeps a page up to date: fetches it again and puts new parts in place of old ones.
"use strict";

(() => {
  const main = document.getElementById("main");
  const seen = new Map();
  for (const part of document.querySelectorAll("[data-live]")) seen.set(part.id, part.innerHTML);

  // a part that somebody is using stays as it is until the next time
  const isInUse = (part) => {
    const chosen = document.getSelection();
    const selecting = chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
    const filledIn = [...part.querySelectorAll("textarea, input[type=radio]")].some(
      (input) => (input.type === "radio" ? input.checked : input.value !== ""),
    );
    return selecting || filledIn || (part.contains(document.activeElement) && document.activeElement.tagName !== "PRE");
  };

  const replace = (part, fresh) => {
    const log = part.querySelector("pre.log");
    const atEnd = log && log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    const hadFocus = log && log === document.activeElement;
    part.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    const now = part.querySelector("pre.log");
    if (!now) return;
    now.scrollTop = atEnd ? now.scrollHeight : log ? log.scrollTop : now.scrollHeight;
    if (hadFocus) now.focus({ preventScroll: true });
  };

  const update = async () => {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (answer.redirected) return location.reload(); // the session is over
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh || fresh.innerHTML === seen.get(part.id) || isInUse(part)) continue;
      seen.set(part.id, fresh.innerHTML);
      replace(part, fresh);
    }
    document.title = page.title;
    main.dataset.every = page.getElementById("main").dataset.every;
  };

  const later = () => {
    const every = Number(main.dataset.every);
    if (every > 0) setTimeout(again, every);
  };
  const again = async () => {
    try {
      if (!document.hidden) await update();
    } catch {
      // the service is away: the next time may do better
    }
    later();
  };

  for (const log of document.querySelectorAll("#log pre.log")) log.scrollTop = log.scrollHeight;
  later();
})();
