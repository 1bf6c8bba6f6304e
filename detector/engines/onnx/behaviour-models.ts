// The behaviour models that are loaded: the one Picket ships and the one the site chose. Another choice is taken up while running; a bad one is refused.
import { type Calibration, energyAt, scoreOf } from "@picket/models/behaviour/calibration";
import { FEATURES, featuresOf, type Past } from "@picket/models/behaviour/features";
import { type BehaviourModel, decodeModel, type ModelFiles } from "@picket/models/behaviour/files";
import { pastOf, type Regime } from "@picket/models/behaviour/learn";
import { energyColumns } from "@picket/models/behaviour/network";
import { type Scale, scaled } from "@picket/models/behaviour/scale";
import type { Minute } from "@picket/models/behaviour/window";
import type { Log } from "../../log.ts";
import { currentStamp, currentVersion, readVersion, START } from "./behaviour-folder.ts";
import { type Runtime, type Session, Tensor } from "./runtime.ts";

/** Of the site's budget, what the model Picket ships may use: it knows no device of the site. */
const START_SHARE = 0.1;

/** Which past a minute was compared with: the device's own, the site's, or the one Picket ships. */
export type Basis = Regime | "start";

export type Judged = {
  readonly energy: number;
  /** 0 to 1: the share of benign minutes that are less unusual. */
  readonly score: number;
  readonly basis: Basis;
  /** Energy from which it is worth an alert. */
  readonly threshold: number;
  /** Alerts a device and day that a threshold at this energy would give. */
  readonly calibration: Calibration;
  readonly past: Past;
  readonly scale: Scale;
  /** What each feature added. */
  readonly parts: Float32Array;
};

type Loaded = { readonly version: string; readonly model: BehaviourModel; readonly session: Session };
type Compared = {
  readonly loaded: Loaded;
  readonly basis: Basis;
  readonly calibration: Calibration;
  readonly past: Past;
  readonly scale: Scale;
};

export type ModelsOptions = {
  readonly runtime: Runtime;
  readonly start: ModelFiles;
  /** Where the site keeps what it learnt; none: only the model Picket ships. */
  readonly folder?: string | undefined;
  readonly alertsPerDeviceDay: number;
  readonly log: Log;
};

export class BehaviourModels implements Disposable {
  readonly #options: ModelsOptions;
  readonly #start: Loaded;
  #site: Loaded | undefined;
  #stamp = "";

  /** Throws when the model Picket ships cannot be computed here. */
  constructor(options: ModelsOptions) {
    this.#options = options;
    this.#start = this.#load(START, options.start);
    this.refresh();
  }

  /** Version of the site's model in use, or `START`. */
  get version(): string {
    return this.#site?.version ?? START;
  }

  /** Takes up another choice, if there is one. What cannot be used is logged, and what was used before stays. Call between batches. */
  refresh(): void {
    const { folder, log } = this.#options;
    if (folder === undefined) return;
    const stamp = currentStamp(folder);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      const version = currentVersion(folder);
      if (version === this.version) return;
      const next = version === START ? undefined : this.#load(version, readVersion(folder, version));
      this.#site?.session[Symbol.dispose]();
      this.#site = next;
      log("info", "behaviour model in use", { version, ...(next ? next.model.trained : {}) });
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      log("error", "a behaviour model cannot be used; the one before stays", { problem, inUse: this.version });
    }
  }

  /** Judges minutes, each by the nearest past there is. */
  judge(minutes: readonly Minute[]): Judged[] {
    const compared = minutes.map((minute) => this.#compare(minute.device));
    const judged = new Array<Judged>(minutes.length);
    for (const loaded of new Set(compared.map((of) => of.loaded))) {
      const at = compared.flatMap((of, index) => (of.loaded === loaded ? [index] : []));
      const rows = new Float32Array(at.length * FEATURES);
      for (const [row, index] of at.entries()) {
        const into = rows.subarray(row * FEATURES, (row + 1) * FEATURES);
        const { past, scale } = compared[index]!;
        scaled(featuresOf(minutes[index]!, past, into), scale, into);
      }
      const { energy, parts } = loaded.session.run({ features: new Tensor("float32", rows, [at.length, FEATURES]) });
      const energies = energy!.data as Float32Array;
      const ofFeatures = parts!.data as Float32Array;
      for (const [row, index] of at.entries()) {
        const one = compared[index]!;
        const column = energyColumns.indexOf(one.basis === "start" ? "stranger" : one.basis);
        const added = ofFeatures.slice(row * FEATURES, (row + 1) * FEATURES);
        judged[index] = this.#judged(one, energies[row * energyColumns.length + column]!, added);
      }
    }
    return judged;
  }

  #judged({ basis, calibration, past, scale }: Compared, energy: number, parts: Float32Array): Judged {
    const budget = this.#options.alertsPerDeviceDay * (basis === "start" ? START_SHARE : 1);
    return {
      energy,
      score: scoreOf(calibration, energy),
      basis,
      threshold: energyAt(calibration.alerts, budget),
      calibration,
      past,
      scale,
      parts,
    };
  }

  #compare(device: string): Compared {
    if (this.#site) {
      const of = pastOf(this.#site.model, device);
      const calibration = this.#site.model.calibration[of.regime];
      if (calibration) return { loaded: this.#site, basis: of.regime, calibration, past: of, scale: of.scale };
    }
    const { own: _own, ...of } = pastOf(this.#start.model, "");
    return {
      loaded: this.#start,
      basis: "start",
      calibration: this.#start.model.calibration.stranger!,
      past: { own: undefined, site: of.site },
      scale: of.scale,
    };
  }

  #load(version: string, files: ModelFiles): Loaded {
    const model = decodeModel(files);
    if (version === START && !model.calibration.stranger)
      throw new Error("the behaviour model Picket ships knows nothing of other devices");
    const session = this.#options.runtime.open(files["model.onnx"]);
    try {
      session.run({ features: new Tensor("float32", new Float32Array(FEATURES), [1, FEATURES]) });
    } catch (error) {
      session[Symbol.dispose]();
      throw new Error(`model.onnx does not take ${FEATURES} features: ${error instanceof Error ? error.message : error}`);
    }
    return { version, model, session };
  }

  [Symbol.dispose](): void {
    this.#start.session[Symbol.dispose]();
    this.#site?.session[Symbol.dispose]();
  }
}
