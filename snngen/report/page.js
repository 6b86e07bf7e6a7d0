"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const text = document.getElementById("text");
  const tokens = Array.from(text.getElementsByClassName("t"));
  const choice = document.getElementById("figure");
  const tip = document.getElementById("tip");
  const told = document.getElementById("told");
  let chosen = -1;

  const figure = () => data.figures[Number(choice.value)];

  // The token's place and text, the chosen figure first, then all others.
  const lines = (at, all) => {
    const first = figure();
    const others = all ? data.figures.filter((other) => other !== first) : [];
    const words = (one) => `${one.name}: ${one.texts[at].match(/^[0-9]/) ? one.prefix : ""}${one.texts[at]}`;
    return [`token ${at}: ${JSON.stringify(data.pieces[at])}`, ...[first, ...others].map(words)];
  };

  const fill = (place, [head, ...rest]) => {
    const bold = document.createElement("b");
    bold.textContent = head;
    place.replaceChildren(bold, rest.join("; "));
  };

  const shade = () => {
    const { levels, ends, bound } = figure();
    tokens.forEach((token, at) => {
      for (const name of Array.from(token.classList)) {
        if (/^s[0-9]$/.test(name)) token.classList.remove(name);
      }
      if (levels[at] !== "-") token.classList.add(`s${levels[at]}`);
    });
    document.getElementById("low").textContent = ends[0];
    document.getElementById("high").textContent = ends[1];
    document.getElementById("bound").textContent = bound;
    if (chosen >= 0) fill(told, lines(chosen, true));
    tip.hidden = true;
  };

  const showTip = (at) => {
    fill(tip, lines(at, false));
    tip.hidden = false;
    const box = (tokens[at].getClientRects()[0] || text.getBoundingClientRect());
    const room = document.documentElement.clientWidth;
    tip.style.left = "0px";
    const left = Math.max(4, Math.min(box.left, room - tip.offsetWidth - 4));
    const above = box.top - tip.offsetHeight - 6;
    tip.style.left = `${left + window.scrollX}px`;
    tip.style.top = `${(above > 0 ? above : box.bottom + 6) + window.scrollY}px`;
  };

  const choose = (at) => {
    if (chosen >= 0) tokens[chosen].classList.remove("chosen");
    chosen = at;
    tokens[at].classList.add("chosen");
    fill(told, lines(at, true));
    showTip(at);
  };

  const place = (event) => tokens.indexOf(event.target.closest(".t"));
  text.addEventListener("pointerover", (event) => { if (place(event) >= 0) showTip(place(event)); });
  text.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") tip.hidden = true; });
  text.addEventListener("click", (event) => { if (place(event) >= 0) choose(place(event)); });
  text.addEventListener("blur", () => { tip.hidden = true; });
  text.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0, End: tokens.length - 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(Math.max(0, Math.min(tokens.length - 1, steps[event.key])));
    tokens[chosen].scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
  choice.addEventListener("change", shade);
  choice.value = "0";
})();
