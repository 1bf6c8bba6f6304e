import { expect, test } from "vitest";
import { hostsOf, waysTo } from "./ways.ts";

test.each([
  {
    name: "the token's address, then its others, each once",
    also: ["vpn.example", "site.example"],
    configured: [],
    hosts: ["site.example", "vpn.example"],
  },
  { name: "a token of before has one", also: undefined, configured: [], hosts: ["site.example"] },
  {
    name: "what the configuration names, in its order",
    also: ["vpn.example"],
    configured: ["10.0.0.1", "site.example"],
    hosts: ["10.0.0.1", "site.example"],
  },
])("$name", ({ also, configured, hosts }) => {
  expect(hostsOf({ mqtt: "site.example:8883", also }, configured)).toEqual(hosts);
});

test("a way is a host with the site's port; while isolated each host may be behind each address that passes", () => {
  expect(waysTo("[fd00::1]:8883", ["fd00::1", "vpn.example"], [])).toEqual([
    { host: "fd00::1", port: 8883 },
    { host: "vpn.example", port: 8883 },
  ]);
  expect(waysTo("site.example:8883", ["site.example"], ["192.0.2.1"])).toEqual([
    { host: "site.example", port: 8883, addresses: ["192.0.2.1"] },
  ]);
});
