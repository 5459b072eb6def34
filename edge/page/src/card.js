// One modality's card: its image, its brain mask, and the view of both.

import { Viewer } from "./viewer.js";

const NAMES = { flair: "FLAIR", t2w: "T2w", t1w: "T1w", dwi: "DWI" };

/** A modality as people write it. */
export function displayName(modality) {
  return NAMES[modality] ?? modality.toUpperCase();
}

export class Card {
  #files = { image: null, mask: null };
  #inputs = {};
  #viewer;
  #on;
  #find;

  /**
   * @param {HTMLTemplateElement} template
   * @param {string} modality
   * @param {{change: () => void, shown: (card: Card) => void, move: (card: Card, mm: number[]) => void}} on
   */
  constructor(template, modality, on) {
    this.modality = modality;
    this.name = displayName(modality);
    this.#on = on;
    const fragment = template.content.cloneNode(true);
    this.element = fragment.firstElementChild;
    this.element.dataset.modality = modality;
    this.#find = (selector) => this.element.querySelector(selector);
    this.#label();
    for (const kind of ["image", "mask"]) {
      this.#inputs[kind] = this.#find(`input.${kind}`);
      this.#inputs[kind].addEventListener("change", () => this.#take(kind, this.#inputs[kind].files[0] ?? null));
    }
    this.#find(".remove-mask").addEventListener("click", () => {
      this.#inputs.mask.value = "";
      this.#take("mask", null);
      this.#inputs.mask.focus();
    });
    this.#acceptDrops();
  }

  /** Start the viewer: once the card is on the page, for its canvas takes its size from there. */
  start() {
    this.#viewer = new Viewer(this.#find("canvas"), ({ mm, value, byUser }) => {
      this.#find(".place").textContent = `${inWords(mm)}  \u00b7  intensity ${short(value)}`;
      if (byUser) this.#on.move(this, mm);
    });
  }

  get image() {
    return this.#files.image;
  }

  /** Form field -> file, of what was chosen. */
  get files() {
    const { image, mask } = this.#files;
    return [
      [this.modality, image],
      [`${this.modality}_mask`, mask],
    ].filter(([, file]) => file);
  }

  /** The crosshair's place, RAS mm; null without an image. */
  get mm() {
    return this.#viewer.mm;
  }

  goTo(mm) {
    this.#viewer.goTo(mm);
  }

  focus() {
    this.#inputs.image.focus();
  }

  #label() {
    for (const place of this.element.querySelectorAll(".name")) place.textContent = this.name;
    for (const kind of ["image", "mask"]) {
      const id = `${this.modality}-${kind}`;
      this.#find(`input.${kind}`).id = id;
      for (const label of this.element.querySelectorAll(`label.for-${kind}`)) label.htmlFor = id;
    }
    this.#find("input.image").setAttribute("aria-label", `${this.name} image`);
    this.#find("canvas").setAttribute("aria-label", `${this.name}: axial, coronal and sagittal slice`);
    this.#find(".remove-mask").setAttribute("aria-label", `Remove the ${this.name} brain mask`);
  }

  async #take(kind, file) {
    if (file && !/\.nii(\.gz)?$/i.test(file.name)) {
      this.#inputs[kind].value = "";
      this.#files[kind] = null;
      this.#note(`${file.name} was not taken: a NIfTI file is needed, its name ending in .nii or .nii.gz.`);
    } else {
      this.#files[kind] = file;
      this.#note(file ? `Reading ${file.name} \u2026` : "");
    }
    this.#find(".remove-mask").hidden = !this.#files.mask;
    this.element.dataset.state = this.#files.image ? "reading" : "empty";
    this.#on.change();
    await this.#show();
  }

  async #show() {
    const { image, mask } = this.#files;
    try {
      if (!(await this.#viewer.show(image, mask))) return;
      this.element.dataset.state = image ? "shown" : "empty";
      if (image) {
        this.#note("");
        this.#on.shown(this);
      }
    } catch {
      // the server reads the file by itself, and says what is wrong with it
      if (image !== this.#files.image || mask !== this.#files.mask) return;
      this.element.dataset.state = "unseen";
      this.#note("This browser can't show the file: not a NIfTI image, or no WebGL2 here.");
    }
  }

  #note(text) {
    this.#find(".note").textContent = text;
  }

  #acceptDrops() {
    const depth = { count: 0 }; // dragenter and dragleave also come from every child
    const over = (step) => {
      depth.count = step === 0 ? 0 : depth.count + step;
      this.element.classList.toggle("over", depth.count > 0);
    };
    const listen = (kind, act) => this.element.addEventListener(kind, act, { capture: true });
    listen("dragenter", () => over(1));
    listen("dragleave", () => over(-1));
    listen("dragover", (event) => event.preventDefault());
    listen("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      over(0);
      const kind = event.target.closest(".mask-field") ? "mask" : "image";
      const dropped = event.dataTransfer.files;
      if (dropped.length !== 1) {
        this.#note(`Drop one file here: the ${this.name} ${kind}.`);
        return;
      }
      this.#inputs[kind].files = dropped; // so that the field names it, to the eye and to a screen reader
      this.#take(kind, dropped[0]);
    });
  }
}

function inWords(mm) {
  const ends = ["LR", "PA", "IS"];
  return mm.map((part, axis) => `${ends[axis][part < 0 ? 0 : 1]}\u00a0${Math.abs(part).toFixed(1)}`).join("  ") + " mm";
}

function short(value) {
  return Number.isInteger(value) ? String(value) : value.toPrecision(4);
}
