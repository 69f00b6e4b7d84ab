// The run form: picking an image writes its name into the field, typing a name unpicks.

const field = document.getElementById("id_image");
const picks = [...document.querySelectorAll("[data-pick]")];

for (const pick of picks) pick.addEventListener("change", () => (field.value = pick.value));
field.addEventListener("input", () => {
  for (const pick of picks) pick.checked = pick.value === field.value;
});
