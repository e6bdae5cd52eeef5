"use strict";
(() => {
  const form = document.getElementById("filters");
  const attributes = { arm: "data-arms", verdict: "data-verdict", kind: "data-kind", flag: "data-flag" };
  const marked = [...document.querySelectorAll("[data-arms], [data-verdict], [data-kind], [data-flag]")];
  const fits = (element, name, wanted) => {
    const value = element.getAttribute(attributes[name]);
    if (!wanted || value === null) return true;
    return name === "arm" ? value.split("\n").includes(wanted) : value === wanted;
  };
  const apply = () => {
    const wanted = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const element of marked) {
      const fit = Object.keys(attributes).every((name) => fits(element, name, wanted[name]));
      element.hidden = !fit;
      shown += fit ? 1 : 0;
    }
    const all = Object.values(wanted).every((value) => value === "");
    form.querySelector("output").textContent = all ? "" : `${shown} of ${marked.length} lines and answers shown`;
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  form.hidden = false;
})();
