import { createClient } from '@contextd/client'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { boardIdFrom, ContextdProvider } from './board.ts'
import type { Boards } from './board.ts'

const client = createClient<Boards>({ url: location.origin })
const root = document.getElementById('root')
if (!root) throw new Error('The page has no #root')

createRoot(root).render(
  <StrictMode>
    <ContextdProvider client={client}>
      <App boardId={boardIdFrom(new URL(location.href))} />
    </ContextdProvider>
  </StrictMode>,
)
