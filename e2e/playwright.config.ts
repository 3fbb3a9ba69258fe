import { execFileSync } from 'node:child_process'
import { defineConfig } from '@playwright/test'

// The system's browser, never a downloaded one.
const executablePath = process.env['CHROMIUM_PATH'] ?? execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()

export default defineConfig({
  testDir: 'tests',
  outputDir: '../.results/playwright',
  reporter: [['list'], ['json', { outputFile: '../.results/playwright.json' }]],
  // Bounds for what hangs, far from what a busy machine makes slow.
  timeout: 120_000,
  expect: { timeout: 20_000 },
  retries: 0,
  workers: 1,
  forbidOnly: Boolean(process.env['CI']),
  use: {
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath,
      chromiumSandbox: process.getuid?.() !== 0,
      args: [
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-dev-shm-usage',
      ],
    },
  },
})
