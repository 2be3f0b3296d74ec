// Draws that a seed repeats.

/** Draws from a seed, always the same ones in the same order (mulberry32). */
export function drawer(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const pick = (list) => list[Math.floor(next() * list.length)]
  return {
    pick,
    /** An integer, both bounds included. */
    integer: (least, most) => least + Math.floor(next() * (most - least + 1)),
    between: (least, most) => least + next() * (most - least),
    chance: (share) => next() < share,
    /** One of the names of `weights`, as often as its number says. */
    weighted(weights) {
      const entries = Object.entries(weights)
      let rest = next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
      for (const [name, weight] of entries) {
        rest -= weight
        if (rest < 0) return name
      }
      return entries.at(-1)[0]
    },
    /** A drawer of its own: what is drawn from it changes nothing here. */
    branch: () => drawer(Math.floor(next() * 2 ** 32)),
  }
}
