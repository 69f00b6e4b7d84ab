// Loaded before the style sheets, so that the first paint already has the right theme.
(function () {
  "use strict";
  var key = "slipway-theme";
  var dark = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return localStorage.getItem(key) || "system";
    } catch (error) {
      return "system";
    }
  }

  function apply() {
    var choice = chosen();
    var theme = choice === "system" ? (dark.matches ? "dark" : "light") : choice;
    document.documentElement.setAttribute("data-bs-theme", theme);
    document.documentElement.setAttribute("data-theme-choice", choice);
  }

  window.slipwayTheme = {
    chosen: chosen,
    choose: function (choice) {
      try {
        localStorage.setItem(key, choice);
      } catch (error) {
        // Private mode: the choice holds for this page.
        document.documentElement.setAttribute("data-bs-theme", choice);
      }
      apply();
    },
  };
  dark.addEventListener("change", apply);
  window.addEventListener("storage", function (event) {
    if (event.key === key) apply();
  });
  apply();
})();
