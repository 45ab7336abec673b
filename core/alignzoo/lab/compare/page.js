const filter = document.getElementById("filter");
if (filter) {
  const asked = [...document.querySelectorAll(".asked")];
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const one of asked) {
      const text = one.textContent.toLowerCase();
      one.hidden = !words.every((word) => text.includes(word));
    }
  });
}
