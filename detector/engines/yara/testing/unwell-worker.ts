// A thread that does what no thread should, as the file it is given says.
declare const self: { postMessage(message: unknown): void; onmessage: (event: { data: { bytes: Uint8Array } }) => void };

self.onmessage = ({ data }) => {
  switch (new TextDecoder().decode(data.bytes)) {
    case "hang":
      for (;;);
    case "exit":
      process.exit(3);
      break;
    case "throw":
      throw new Error("thrown on purpose");
    case "lie":
      self.postMessage({ said: "loaded", loaded: 1, problems: [] });
      break;
    default:
      self.postMessage({ said: "scanned", matches: [], heldBytes: 1 });
  }
};
