export type SiteErrorKind = "unreachable" | "untrusted" | "timeout" | "credential" | "not-found" | "refused" | "broken";

/** The one error of the client: what failed, on what, what to do. `status` is the HTTP status where the site answered. */
export class SiteError extends Error {
  override name = "SiteError";
  readonly kind: SiteErrorKind;
  readonly title: string;
  readonly detail: string;
  readonly hint: string | undefined;
  readonly status: number | undefined;

  constructor(of: {
    kind: SiteErrorKind;
    title: string;
    detail: string;
    hint?: string | undefined;
    status?: number | undefined;
    cause?: unknown;
  }) {
    super(`${of.title}: ${of.detail}`, { cause: of.cause });
    this.kind = of.kind;
    this.title = of.title;
    this.detail = of.detail;
    this.hint = of.hint;
    this.status = of.status;
  }
}

/** Any error as a `SiteError`. Codes are those of Bun's fetch and of OpenSSL. */
export function asSiteError(error: unknown, url: string): SiteError {
  if (error instanceof SiteError) return error;
  const code = codeOf(error);
  const text = reasons[code] ?? plain(error instanceof Error ? error.message : String(error));
  const at = new URL(url).host;
  if (error instanceof Error && error.name === "TimeoutError")
    return new SiteError({
      kind: "timeout",
      title: "the site did not answer in time",
      detail: at,
      hint: "Is the site overloaded, or a firewall dropping packets? Try again, or look at the broker's log.",
      cause: error,
    });
  if (/CERT|SIGNED|SIGNATURE|ISSUER|ALTNAME|TLS|SSL/i.test(code))
    return new SiteError({
      kind: "untrusted",
      title: "the site's certificate is not trusted",
      detail: `${at}: ${text} (${code})`,
      hint: "This is not the site you were set up for, or its CA changed. Compare `picket site show` on the site's host with your site.json.",
      cause: error,
    });
  return new SiteError({
    kind: "unreachable",
    title: "the site cannot be reached",
    detail: `${at}: ${text}${code ? ` (${code})` : ""}`,
    hint: "Is the broker running (`picket broker` or `picket up`)? Is the address in site.json right?",
    cause: error,
  });
}

/** What a code means to whoever watches a site; Bun's own words are for whoever wrote the request. */
const reasons: Record<string, string> = {
  ECONNREFUSED: "nothing listens there",
  ConnectionRefused: "nothing listens there",
  ECONNRESET: "the connection broke",
  ConnectionClosed: "the connection broke",
  ENOTFOUND: "the name is not known",
  EHOSTUNREACH: "no way to that host",
  ENETUNREACH: "no way to that network",
};

/** Without the advice to programmers that Bun adds, and without the code, which stands behind it. */
const plain = (text: string) => text.replace(/\s*For more information, pass .*$/s, "").replace(/\s*\([A-Z_]+\)$/, "");

function codeOf(error: unknown): string {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}
