import { connect, type TLSSocket } from "node:tls";
import { checkSite } from "../site-tls.ts";

export type Credentials = { readonly ca: string; readonly cert: string; readonly key: string };
/** One way to the broker. */
export type Target = {
  /** As the site's certificate names it. */
  readonly host: string;
  readonly port: number;
  /** Where to connect instead of resolving `host`; tried in order. Needed while isolation cuts DNS. */
  readonly addresses?: readonly string[];
};

const TIMEOUT_MS = 10_000;

/**
 * A TLS 1.3 connection to the site, its certificate chained to the pinned CA, checked for host and role before a byte of ours is sent.
 * The targets are tried in order, each for 10 s at most. Rejects with the reason of each.
 */
export async function dial(targets: readonly Target[], credentials: Credentials, signal: AbortSignal): Promise<Dialled> {
  const reasons: string[] = [];
  for (const target of targets) {
    for (const address of target.addresses?.length ? target.addresses : [target.host]) {
      signal.throwIfAborted();
      try {
        return { socket: await dialOne(address, target, credentials, signal), host: target.host };
      } catch (error) {
        reasons.push(error instanceof Error ? error.message : String(error));
      }
    }
  }
  throw new Error(reasons.join("; "));
}

export type Dialled = {
  readonly socket: TLSSocket;
  /** Of the target that answered. */
  readonly host: string;
};

function dialOne(address: string, target: Target, credentials: Credentials, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: address,
      port: target.port,
      ...credentials,
      // An address is no server name (RFC 6066, section 3).
      ...(isAddress(target.host) ? {} : { servername: target.host }),
      minVersion: "TLSv1.3",
      rejectUnauthorized: true,
      checkServerIdentity: (_host, certificate) => checkSite(target.host, certificate),
    });
    const fail = (error: Error) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
      socket.destroy();
      reject(error);
    };
    const aborted = () => fail(new Error("stopped"));
    const timer = setTimeout(
      () => fail(new Error(`no answer from ${address} port ${target.port} within ${TIMEOUT_MS / 1000} s`)),
      TIMEOUT_MS,
    );
    signal.addEventListener("abort", aborted);
    socket.on("error", fail);
    socket.once("close", () => fail(new Error(`${address} port ${target.port} closed the connection`)));
    socket.once("secureConnect", () => {
      if (!socket.authorized) return fail(new Error(`the site's certificate was not accepted: ${socket.authorizationError}`));
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

const isAddress = (host: string) => /^[\d.]+$|:/.test(host);
