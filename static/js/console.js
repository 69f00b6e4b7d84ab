// What every page has: menus, dialogs, copying, ages, toasts, palette, keys and live regions.

import { startAges } from "./ages.js";
import { startCopying } from "./copying.js";
import { startDialogs } from "./dialogs.js";
import { startKeys } from "./keys.js";
import { startRegions } from "./live.js";
import { startMenus } from "./menus.js";
import { startPalette } from "./palette.js";
import { startToasts } from "./toasts.js";

startMenus();
startDialogs();
startCopying();
startAges();
startToasts();
if (document.body.dataset.member) {
  const palette = startPalette();
  startKeys(palette);
  startRegions();
}
