import react from '@vitejs/plugin-react'
import { defaultClientConditions, defineConfig } from 'vite'

export default defineConfig({
  plugins: [react()],
  // Relative addresses: the page works from any path it is served under.
  base: './',
  resolve: { conditions: ['@contextd/source', ...defaultClientConditions] },
})
