import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Under Bun only the threads pool works: forks cannot start and vmThreads lacks bun:* modules.
    pool: "threads",
    include: ["**/*.test.{ts,tsx}"],
    exclude: ["**/node_modules/**", "dist/**", ".picket/**"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
