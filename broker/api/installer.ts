// What a machine fetches before it is a device. Open to anyone who reaches the port, so all of it is bounded.
import { createReadStream } from "node:fs";
import type { Server } from "node:https";
import { INSTALL_PATH, releaseFiles } from "@picket/protocol/release";
import type { FastifyInstance } from "fastify";
import { Refused } from "../refused.ts";
import type { ApiDeps } from "./deps.ts";

/** Executables are some 100 MB each: more at once would only make all of them slow. Whoever is refused comes back. */
const MAX_DOWNLOADS = 16;
/** A download that takes longer than this holds a place that others wait for. */
const DOWNLOAD_MS = 30 * 60_000;
const RETRY_S = 10;

export const noRelease = () =>
  new Refused(
    "not-found",
    "This site has nothing for devices to install yet",
    "On the site's host: sudo ./install.sh --site or --upgrade, with a release signed by `picket operator sign`",
  );

/** Registers one route for each file of a release. */
export function serveRelease(app: FastifyInstance<Server>, installer: ApiDeps["installer"]): void {
  let downloads = 0;
  for (const name of releaseFiles) {
    app.get(`${INSTALL_PATH}/${name}`, { config: { auth: "open" } }, (_request, reply) => {
      const file = installer.file(name);
      if (!file) throw noRelease();
      if (downloads >= MAX_DOWNLOADS) {
        reply.header("retry-after", RETRY_S);
        throw new Refused("unavailable", `${MAX_DOWNLOADS} downloads are running`, `Try again in ${RETRY_S} s`);
      }
      downloads++;
      const stream = createReadStream(file.path, { end: file.sizeBytes - 1 });
      const late = setTimeout(() => stream.destroy(new Error("the download took too long")), DOWNLOAD_MS);
      reply.raw.once("close", () => {
        downloads--;
        clearTimeout(late);
        stream.destroy();
      });
      return reply.type("application/octet-stream").header("content-length", file.sizeBytes).send(stream);
    });
  }
}
