// The balance of power that failed, for people.
import type { Row } from "../chaos/sheet.ts";
import type { DeviceResult } from "./device.ts";
import type { Cut } from "./disk.ts";
import type { SiteResult } from "./site.ts";

const ofDisk = ({ unflushed, lost, torn }: Cut) => `${unflushed} writes not flushed: ${lost} lost, ${torn} torn`;

const ofRow = ({ device, caused, stored, lost, unexplained, duplicates, alerts }: Row) =>
  `  ${device}: caused ${caused} = stored ${stored} + power ${lost.power} + evicted ${lost.evicted} + shed ${lost.shed} + kernel ${lost.kernel}; unexplained ${unexplained}, twice ${duplicates}; alerts ${alerts.found} of ${alerts.expected}`;

/** More of them say nothing new. */
const MOST_SHOWN = 20;

function ofDifferences(differences: readonly string[]): string[] {
  if (differences.length === 0) return ["  balanced"];
  const more = differences.length - MOST_SHOWN;
  return [
    ...differences.slice(0, MOST_SHOWN).map((what) => `  DOES NOT BALANCE: ${what}`),
    ...(more > 0 ? [`  DOES NOT BALANCE: and ${more} more`] : []),
  ];
}

export const printSite = ({ rounds, rows, differences }: SiteResult): string =>
  [
    "site",
    ...rounds.map(
      ({ startMs, acknowledged, stored, alerts, cut }, at) =>
        `  cut ${at + 1}: up after ${Math.round(startMs / 1000)} s; ${ofDisk(cut)}; acknowledged ${acknowledged}, in the log ${stored}, alerts ${alerts}`,
    ),
    ...rows.map(ofRow),
    ...ofDifferences(differences),
  ].join("\n");

export const printDevice = ({ durability, cuts, costs, row, differences }: DeviceResult): string =>
  [
    `device, ${durability}`,
    ...cuts.map(({ startMs, isDeaf, disk, deeds, onDisk }, at) => {
      const cost = costs[at]!;
      const what = cost.deeds === 0 ? "no deed lost" : `${cost.deeds} deeds lost, of the last ${cost.seconds.toFixed(1)} s`;
      return `  cut ${at + 1}: up after ${Math.round(startMs / 1000)} s; ${isDeaf ? "site deaf; " : ""}${ofDisk(disk)}; ${deeds.length} deeds done, ${onDisk.size} events in the buffer; ${what}`;
    }),
    ofRow(row),
    ...ofDifferences(differences),
  ].join("\n");
