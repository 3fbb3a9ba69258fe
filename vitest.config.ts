import { fileURLToPath } from 'node:url'
import { defaultClientConditions, defaultServerConditions } from 'vite'
import { defineConfig } from 'vitest/config'

const source = '@contextd/source'
// Vite replaces its default conditions by these, and each project needs them said again.
const resolve = { conditions: [source, ...defaultClientConditions] }
// A bound for what hangs, far from what a busy machine makes slow.
const testTimeout = 60_000
const react18 = fileURLToPath(new URL('react/compat-18/node_modules', import.meta.url))
const ssr = { resolve: { conditions: [source, ...defaultServerConditions] } }

export default defineConfig({
  test: {
    maxWorkers: 2,
    coverage: { include: ['*/src/**/*.{ts,tsx}'] },
    projects: [
      {
        resolve,
        ssr,
        test: {
          name: 'node',
          testTimeout,
          hookTimeout: testTimeout,
          environment: 'node',
          include: ['{protocol,server,client,bench}/src/**/*.test.ts', 'e2e/integration/**/*.test.ts'],
        },
      },
      {
        // A page resolves `ws` to a stub that is no server; the tests of pages against a real server need the real one.
        resolve: { ...resolve, alias: { ws: fileURLToPath(new URL('e2e/node_modules/ws/wrapper.mjs', import.meta.url)) } },
        ssr,
        test: {
          name: 'react',
          testTimeout,
          hookTimeout: testTimeout,
          environment: 'happy-dom',
          env: { REACT_MAJOR: '19' },
          include: ['react/src/**/*.test.tsx', 'e2e/integration/**/*.test.tsx'],
        },
      },
      {
        // The hooks again, on React 18: whatever imports React has to come by the alias.
        resolve: { ...resolve, alias: [{ find: /^(react|react-dom|@testing-library\/react)($|\/)/, replacement: `${react18}/$1$2` }] },
        ssr,
        test: {
          name: 'react-18',
          testTimeout,
          hookTimeout: testTimeout,
          environment: 'happy-dom',
          env: { REACT_MAJOR: '18' },
          include: ['react/src/**/*.test.tsx'],
          exclude: ['react/src/use-contextd-activity.test.tsx'],
          server: { deps: { inline: [/zustand/] } },
        },
      },
    ],
  },
})
