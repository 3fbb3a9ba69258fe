import { readFileSync } from 'node:fs'

/**
 * Counts a vitest JSON report.
 * A file that does not load has no tests in it, so it is missing from `numFailedTests` and counted here as one failed test.
 */
export function vitestCounts(file, exitedWell) {
  const report = read(file)
  if (!report) return { passed: 0, failed: 1 }
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((assertion) => assertion.status === 'failed'),
  )
  return counts(report.numPassedTests, report.numFailedTests + unloaded.length, exitedWell)
}

/** Counts a Playwright JSON report. Flaky is failed; `errors` holds files that did not load and a set-up that broke. */
export function playwrightCounts(file, exitedWell) {
  const report = read(file)
  if (!report) return { passed: 0, failed: 1 }
  const { expected, unexpected, flaky } = report.stats
  return counts(expected, unexpected + flaky + report.errors.length, exitedWell)
}

// An unhandled error outside every test shows in the exit code only.
function counts(passed, failed, exitedWell) {
  return { passed, failed: exitedWell ? failed : Math.max(failed, 1) }
}

function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    console.error(`No test report in ${file}: ${error.message}`)
    return null
  }
}
