import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Under Bun only the threads pool works: forks cannot start and vmThreads lacks bun:* modules.
    pool: "threads",
    include: ["**/*.test.{ts,tsx}"],
    exclude: ["**/node_modules/**", "dist/**", ".picket/**"],
    // Most of the time a test waits for processes, kernels and networks. Vitest alone would leave one processor out.
    maxWorkers: 2,
    // How long is too long, on a machine that does other things as well: no measure of speed.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
