import { SiteError } from "./site-error.ts";

/** Longest single event accepted, in UTF-16 units. */
const MAX_EVENT_CHARS = 8 << 20;

export type SseEvent = { readonly event: string; readonly data: string };

/**
 * Reads `text/event-stream` (WHATWG HTML, section 9.2.6). Throws when nothing, not even a comment, came for `silenceMs`,
 * because a dead TCP connection says nothing for minutes; and on an event that is too long.
 */
export async function* readSse(body: ReadableStream<Uint8Array>, silenceMs: number): AsyncGenerator<SseEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const chunk = await within(reader.read(), silenceMs);
      if (chunk.done) return;
      rest += decoder.decode(chunk.value, { stream: true });
      if (rest.length > MAX_EVENT_CHARS) throw tooLong();
      const blocks = rest.split(/\r\n\r\n|\n\n|\r\r/);
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parseBlock(block);
        if (event) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function parseBlock(block: string): SseEvent | undefined {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split(/\r\n|\n|\r/)) {
    const [, field, value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "event") event = value;
    if (field === "data") data.push(value);
  }
  return data.length > 0 ? { event, data: data.join("\n") } : undefined;
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new SiteError({ kind: "timeout", title: "the site fell silent", detail: `nothing for ${ms / 1000} s` })),
      ms,
    );
  });
  try {
    return await Promise.race([promise, silence]);
  } finally {
    clearTimeout(timer);
  }
}

const tooLong = () =>
  new SiteError({ kind: "broken", title: "the live stream cannot be read", detail: `an event is longer than ${MAX_EVENT_CHARS}` });
