// L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5) with backtracking.

/** Fills `slope` with the gradient at `point` and returns the value there. */
export type Objective = (point: Float64Array, slope: Float64Array) => number;

const MEMORY = 8;

/** The point of a smooth convex function's least value, as near as `steps` steps come. Starts at `point`, which is changed. */
export function minimise(point: Float64Array, objective: Objective, steps = 80, tolerance = 1e-4): Float64Array {
  const size = point.length;
  let slope = new Float64Array(size);
  let value = objective(point, slope);
  const moves: { s: Float64Array; y: Float64Array; rho: number }[] = [];
  for (let step = 0; step < steps; step++) {
    const way = direction(slope, moves);
    const descent = product(way, slope);
    let length = moves.length === 0 ? 1 / Math.max(1, Math.sqrt(product(slope, slope))) : 1;
    const from = point.slice();
    const nextSlope = new Float64Array(size);
    let next = value;
    for (let tries = 0; tries < 20; tries++, length /= 2) {
      for (let at = 0; at < size; at++) point[at] = from[at]! + length * way[at]!;
      next = objective(point, nextSlope);
      if (next <= value + 1e-4 * length * descent) break;
    }
    const s = new Float64Array(size);
    const y = new Float64Array(size);
    for (let at = 0; at < size; at++) {
      s[at] = point[at]! - from[at]!;
      y[at] = nextSlope[at]! - slope[at]!;
    }
    const curvature = product(s, y);
    if (curvature > 1e-12) {
      moves.push({ s, y, rho: 1 / curvature });
      if (moves.length > MEMORY) moves.shift();
    }
    const gained = value - next;
    slope = nextSlope;
    value = next;
    if (gained < tolerance * Math.max(1, Math.abs(value))) break;
  }
  return point;
}

function direction(slope: Float64Array, moves: readonly { s: Float64Array; y: Float64Array; rho: number }[]): Float64Array {
  const way = slope.map((one) => -one);
  const alphas: number[] = [];
  for (const { s, y, rho } of moves.toReversed()) {
    const alpha = rho * product(s, way);
    alphas.push(alpha);
    for (let at = 0; at < way.length; at++) way[at]! -= alpha * y[at]!;
  }
  const last = moves.at(-1);
  if (last) {
    const scale = 1 / (last.rho * product(last.y, last.y));
    for (let at = 0; at < way.length; at++) way[at]! *= scale;
  }
  for (const { s, y, rho } of moves) {
    const beta = rho * product(y, way);
    const alpha = alphas.pop()!;
    for (let at = 0; at < way.length; at++) way[at]! += (alpha - beta) * s[at]!;
  }
  return way;
}

function product(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += a[at]! * b[at]!;
  return sum;
}
