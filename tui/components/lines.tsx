import { Box, Text } from "ink";
import { createContext, useContext } from "react";
import { fit, type Line, type Tone } from "../line.ts";
import { untrusted } from "../untrusted.ts";

type Look = { readonly color?: string; readonly bold?: boolean; readonly dimColor?: boolean };

// Exhaustive on purpose: a new tone must be given a look before it compiles.
const looks: Record<Tone, Look> = {
  critical: { color: "magentaBright", bold: true },
  high: { color: "redBright", bold: true },
  medium: { color: "yellow" },
  low: { color: "cyan" },
  good: { color: "green" },
  bad: { color: "redBright", bold: true },
  key: { color: "cyanBright", bold: true },
  faint: { dimColor: true },
  title: { bold: true },
  plain: {},
};

/** False where NO_COLOR is set (no-color.org): bold, dim and inverse stay. */
export const ColorContext = createContext(true);

type Props = { readonly lines: readonly Line[]; readonly columns: number };

/** The only place that writes text to the terminal: every row is one row, cut to `columns`, and passes `untrusted`. */
export function Lines({ lines, columns }: Props) {
  const colored = useContext(ColorContext);
  return (
    <Box flexDirection="column" width={columns}>
      {lines.map((row, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a row is its place on the screen
        <Text key={index} wrap="truncate-end" inverse={row.selected || row.banner || false} bold={row.selected || row.banner || false}>
          {row.spans.length === 0 ? " " : null}
          {fit(row, columns).map((part, at) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a span is its place in the row
            <Text key={at} {...lookOf(part.tone, colored && !row.selected && !row.banner)}>
              {untrusted(part.text)}
            </Text>
          ))}
        </Text>
      ))}
    </Box>
  );
}

function lookOf(tone: Tone, colored: boolean): Look {
  if (colored) return looks[tone];
  const { color: _, ...rest } = looks[tone];
  return rest;
}
