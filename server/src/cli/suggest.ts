/** The known word that was probably meant; null: none is near. */
export function nearest(word: string, known: readonly string[]): string | null {
  const most = word.length <= 3 ? 1 : word.length <= 6 ? 2 : 3
  const ranked = known.map((name) => ({ name, away: editsBetween(word, name) })).toSorted((a, b) => a.away - b.away)
  const best = ranked[0]
  return best !== undefined && best.away <= most && best.away < best.name.length ? best.name : null
}

/** `; did you mean …?`, or nothing. */
export function suggestion(word: string, known: readonly string[], write: (name: string) => string = (name) => name): string {
  const name = nearest(word, known)
  return name === null ? '' : `; did you mean ${write(name)}?`
}

/** How many letters must be put in, taken out or changed (Levenshtein's distance); two neighbours that change places count as one. */
function editsBetween(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 3) return Number.POSITIVE_INFINITY
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, rows[i - 2]![j - 2]! + 1)
      row.push(least)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
