// Turns a captured terminal screen into the picture in README: `tmux capture-pane -pe -t NAME | bun docs/picture.ts > docs/console.svg`
const ESCAPE = "\u001B";
const CELL = { width: 8.4, height: 18 };
const PAPER = "#101418";
const INK = "#d0d7de";
const palette: Record<number, string> = {
  30: "#484f58",
  31: "#ff7b72",
  32: "#7ee787",
  33: "#e3b341",
  34: "#79c0ff",
  35: "#d2a8ff",
  36: "#76e3ea",
  37: INK,
  90: "#8b949e",
  91: "#ffa198",
  92: "#9be9a8",
  93: "#f2cc60",
  94: "#a5d6ff",
  95: "#e2c5ff",
  96: "#b3f0ff",
  97: "#ffffff",
};

type Pen = { color: string; back: string | undefined; bold: boolean; dim: boolean; inverse: boolean };
const plain: Pen = { color: INK, back: undefined, bold: false, dim: false, inverse: false };

/** SGR (ECMA-48, section 8.3.117): the codes ink uses. */
function apply(pen: Pen, code: number): Pen {
  if (code === 0) return plain;
  if (code === 1) return { ...pen, bold: true };
  if (code === 2) return { ...pen, dim: true };
  if (code === 7) return { ...pen, inverse: true };
  if (code === 22) return { ...pen, bold: false, dim: false };
  if (code === 27) return { ...pen, inverse: false };
  if (code === 39) return { ...pen, color: INK };
  if (code === 49) return { ...pen, back: undefined };
  if (palette[code]) return { ...pen, color: palette[code] };
  return palette[code - 10] ? { ...pen, back: palette[code - 10] } : pen;
}

const xml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function draw(text: string, pen: Pen, column: number, row: number): string {
  const x = column * CELL.width;
  const y = row * CELL.height;
  const width = (Bun.stringWidth(text) * CELL.width).toFixed(1);
  const [ink, paper] = pen.inverse ? [pen.back ?? PAPER, pen.color] : [pen.color, pen.back];
  const back = paper ? `<rect x="${x.toFixed(1)}" y="${y}" width="${width}" height="${CELL.height}" fill="${paper}"/>` : "";
  const style = `${pen.bold ? ' font-weight="bold"' : ""}${pen.dim ? ' opacity="0.6"' : ""}`;
  return `${back}<text x="${x.toFixed(1)}" y="${y + 13}" fill="${ink}"${style} textLength="${width}" xml:space="preserve">${xml(text)}</text>`;
}

const rows = (await Bun.stdin.text()).replace(/\n+$/, "").split("\n");
const shapes: string[] = [];
let columns = 0;
for (const [row, line] of rows.entries()) {
  let pen = plain;
  let column = 0;
  for (const part of line.split(new RegExp(`(${ESCAPE}\\[[0-9;]*m)`))) {
    if (part.startsWith(ESCAPE)) {
      for (const code of part.slice(2, -1).split(";")) pen = apply(pen, Number(code));
      continue;
    }
    if (part.trim() !== "" || pen.inverse) shapes.push(draw(part, pen, column, row));
    column += Bun.stringWidth(part);
  }
  columns = Math.max(columns, column);
}
const width = Math.ceil(columns * CELL.width) + 24;
const height = rows.length * CELL.height + 24;
console.log(
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="-12 -12 ${width} ${height}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14"><rect x="-12" y="-12" width="${width}" height="${height}" rx="8" fill="${PAPER}"/>${shapes.join("")}</svg>`,
);

export {};
