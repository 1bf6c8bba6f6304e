import { expect, test } from "vitest";
import { containerOf, containers } from "./containers.ts";

const id = "f".repeat(64);

test.each([
  ["0::/", undefined],
  ["0::/user.slice/user-1000.slice/session-3.scope", undefined],
  [`0::/system.slice/docker-${id}.scope`, { id, runtime: "docker" }],
  [`12:pids:/docker/${id}\n`, { id, runtime: "docker" }],
  [`0::/machine.slice/libpod-${id}.scope/container`, { id, runtime: "podman" }],
  [`0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${id}.scope`, { id, runtime: "containerd" }],
  ["0::/lxc.payload.web1/system.slice", { id: "web1", runtime: "lxc" }],
])("%s", (cgroup, expected) => {
  expect(containerOf(cgroup)).toEqual(expected);
});

test("a control group is looked up once; a process that is gone is no answer", () => {
  const asked: number[] = [];
  const lookup = containers((pid) => {
    asked.push(pid);
    return pid === 1 ? undefined : `0::/docker/${id}`;
  });
  expect(lookup(7n, 1)).toBeUndefined();
  expect(lookup(7n, 2)?.id).toBe(id);
  expect(lookup(7n, 3)?.id).toBe(id);
  expect(asked).toEqual([1, 2]);
});
