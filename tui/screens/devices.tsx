import { useRef } from "react";
import { DeviceList } from "../components/device-list.tsx";
import { firstRow, listedDevices } from "../state/order.ts";
import { askOrder, commonHints, moveOf, pressCommon, type Screen, type ScreenContext } from "./screen.ts";

/** The list of devices, those in trouble first. */
export const devicesScreen: Screen = {
  keys: (at) => [
    ...(at.state.devices.size > 0
      ? [["↑↓", "select"] as const, ["↵", "open"] as const, ["i", "isolate"] as const, ["r", "release"] as const]
      : []),
    ["Tab", "alerts"],
    ...commonHints(at, false),
  ],
  press(key, at) {
    const move = moveOf(key, at.rows - 1);
    const id = at.state.selectedDevice;
    if (move !== undefined) at.dispatch({ kind: "move", by: move });
    else if (key.name === "enter" && id !== undefined) {
      at.dispatch({ kind: "open", view: { kind: "device", id } });
      at.act.readHistory(id);
    } else if (key.char === "i") askOrder("isolate", id, "ordered in the console", at);
    else if (key.char === "r") askOrder("release", id, "ordered in the console", at);
    else pressCommon(key, at);
  },
  Body: DevicesBody,
};

function DevicesBody({ state, columns, rows }: ScreenContext) {
  const devices = listedDevices(state);
  const top = useRef(0);
  const index = devices.findIndex((device) => device.id === state.selectedDevice);
  top.current = firstRow(top.current, index, rows - 1, devices.length);
  return (
    <DeviceList
      devices={devices}
      selectedId={state.selectedDevice}
      top={top.current}
      nowMs={state.nowMs}
      columns={columns}
      rows={rows}
      empty={
        state.dataMs === undefined
          ? ["Waiting for the site…"]
          : [
              "No device is enrolled yet.",
              "",
              "Next: picket token create --out TOKEN",
              "then on the device: picket-agent enroll --token-file TOKEN",
            ]
      }
    />
  );
}
