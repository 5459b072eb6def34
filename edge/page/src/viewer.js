// One modality's image in three planes, drawn by NiiVue from the file that the user chose: nothing is sent for it.

import { Niivue, NVImage, SLICE_TYPE } from "@niivue/niivue";

// axial large, coronal and sagittal beside it: [left, top, width, height] of the canvas
const PLANES = [
  { sliceType: SLICE_TYPE.AXIAL, position: [0, 0, 0.54, 1] },
  { sliceType: SLICE_TYPE.CORONAL, position: [0.54, 0, 0.46, 0.5] },
  { sliceType: SLICE_TYPE.SAGITTAL, position: [0.54, 0.5, 0.46, 0.5] },
];

const MASK = "brain mask"; // a colour map: a veil, for NiiVue's own ones hide what is beneath

// key -> voxels to the right, front and top
const STEPS = {
  ArrowRight: [1, 0, 0],
  ArrowLeft: [-1, 0, 0],
  ArrowUp: [0, 1, 0],
  ArrowDown: [0, -1, 0],
  PageUp: [0, 0, 1],
  PageDown: [0, 0, -1],
};

// Grey values from 0 on: an MRI's signal is positive, and what an interpolation left below 0 is background.
async function loadImage(file) {
  const volume = await NVImage.loadFromFile({ file, colormap: "gray", ignoreZeroVoxels: true });
  if (volume.cal_max > 0) volume.cal_min = 0;
  return volume;
}

export class Viewer {
  #niivue;
  #ready;
  #turn = 0; // of the newest file asked for: an older one that is read later is dropped
  #quiet = false; // true while the crosshair is moved by the page, not by the user
  #onMove;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {({mm: number[], value: number, byUser: boolean}) => void} onMove the crosshair's place, RAS mm, and the image's value there
   */
  constructor(canvas, onMove) {
    this.#onMove = onMove;
    this.#niivue = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.25, 0.72, 0.95, 0.5],
      dragAndDropEnabled: false, // the card takes drops
      fontColor: [1, 1, 1, 1],
      fontMinPx: 15,
      loadingText: "",
      logLevel: "silent", // a file that it can't read is said on the page
      showAllOrientationMarkers: true, // L and R, P and A, I and S: no convention to be guessed
      onLocationChange: ({ mm, values }) => this.#report(mm, values),
    });
    this.#niivue.addColormap(MASK, { R: [0, 40], G: [0, 200], B: [0, 230], A: [0, 255], I: [0, 255] });
    this.#niivue.setCustomLayout(PLANES);
    this.#ready = this.#niivue.attachToCanvas(canvas, true); // smooth: a crosshair thinner than a pixel vanishes otherwise
    this.#ready.catch(() => {}); // show() says it
    // NiiVue's own keys need the mouse over the canvas and include an alert(): this page has keys of its own
    for (const kind of ["keydown", "keyup"]) {
      canvas.parentElement.addEventListener(kind, (event) => this.#onKey(event), { capture: true });
    }
  }

  /**
   * Show an image and its mask, or nothing.
   * @param {File | null} image
   * @param {File | null} mask
   * @returns {Promise<boolean>} false if a newer call took its place
   */
  async show(image, mask) {
    const turn = ++this.#turn;
    await this.#ready;
    const volumes = [];
    if (image) volumes.push(await loadImage(image));
    if (image && mask) {
      volumes.push(await NVImage.loadFromFile({ file: mask, colormap: MASK, opacity: 0.22, cal_min: 0, cal_max: 1 }));
    }
    if (turn !== this.#turn) return false;
    this.#quiet = true;
    try {
      for (const old of [...this.#niivue.volumes].reverse()) this.#niivue.removeVolume(old);
      for (const volume of volumes) this.#niivue.addVolume(volume);
      if (image) this.#niivue.createOnLocationChange();
    } finally {
      this.#quiet = false;
    }
    return true;
  }

  /** The crosshair's place, RAS mm; null without an image. */
  get mm() {
    const niivue = this.#niivue;
    return niivue.volumes.length ? [...niivue.frac2mm(niivue.scene.crosshairPos)].slice(0, 3) : null;
  }

  /** Move the crosshair to a place, RAS mm, if it lies within the image. */
  goTo(mm) {
    const niivue = this.#niivue;
    if (!niivue.volumes.length) return;
    const fraction = niivue.mm2frac(mm);
    if (![...fraction].every((part) => part >= 0 && part <= 1)) return;
    this.#quiet = true;
    niivue.scene.crosshairPos = fraction;
    niivue.drawScene();
    niivue.createOnLocationChange();
    this.#quiet = false;
  }

  #report(mm, values) {
    if (values.length) this.#onMove({ mm: [...mm].slice(0, 3), value: values[0].value, byUser: !this.#quiet });
  }

  #onKey(event) {
    if (event.target !== this.#niivue.canvas) return;
    event.stopPropagation();
    const step = STEPS[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey || !this.#niivue.volumes.length) return;
    event.preventDefault();
    const voxels = event.shiftKey ? 10 : 1;
    if (event.type === "keydown") this.#niivue.moveCrosshairInVox(...step.map((part) => part * voxels));
  }
}
