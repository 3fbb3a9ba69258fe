import { expect } from '@playwright/test'
import type { BrowserContext, Locator, Page } from '@playwright/test'

/** The board example in one tab. */
export class Board {
  readonly page: Page
  /** What the page wrote as errors to its console, or threw. */
  readonly errors: string[] = []

  private constructor(page: Page) {
    this.page = page
    page.on('pageerror', (error) => this.errors.push(error.message))
    page.on('console', (message) => {
      // A server that is away makes the browser itself report failed connections; that is no error of the page.
      if (message.type() === 'error' && !/ERR_CONNECTION_REFUSED|WebSocket connection to/.test(message.text()))
        this.errors.push(message.text())
    })
  }

  /** Opens the board of a server in a new tab, and waits until it is live. */
  static async open(context: BrowserContext, url: string, board: string, name: string): Promise<Board> {
    const tab = new Board(await context.newPage())
    await tab.page.goto(`${url}/board/?board=${board}&name=${name}`)
    await expect(tab.page.getByTestId('connection')).toContainText('connected')
    await expect(tab.cards('todo').first()).toBeVisible()
    return tab
  }

  column(id: string): Locator {
    return this.page.locator(`[data-testid="column"][data-id="${id}"]`)
  }
  cards(column: string): Locator {
    return this.column(column).getByTestId('card')
  }
  card(text: string): Locator {
    return this.page.getByTestId('card').filter({ hasText: text })
  }
  votes(text: string): Locator {
    return this.card(text).getByTestId('votes')
  }

  async add(column: string, text: string): Promise<void> {
    await this.column(column).getByTestId('new-card').fill(text)
    await this.column(column).getByTestId('new-card').press('Enter')
    await expect(this.column(column).getByText(text)).toBeVisible()
  }

  async edit(text: string, next: string): Promise<void> {
    await this.card(text).getByTestId('card-text').click()
    await this.page.getByTestId('card-edit').fill(next)
    await this.page.getByTestId('card-edit').press('Enter')
  }

  async vote(text: string, times = 1): Promise<void> {
    for (let count = 0; count < times; count += 1) await this.card(text).getByTestId('vote').click()
  }

  async toggleOffline(): Promise<void> {
    await this.page.getByTestId('offline-toggle').click()
  }

  /** Waits until every change of this tab is answered by the server. */
  async saved(): Promise<void> {
    await expect(this.page.getByTestId('unsaved')).toHaveAttribute('data-count', '0')
  }
  async unsaved(count: number): Promise<void> {
    await expect(this.page.getByTestId('unsaved')).toHaveAttribute('data-count', String(count))
  }
}

/** Every card of a board by column, as a tab shows it. */
export async function shown(board: Board): Promise<{ [column: string]: string[] }> {
  const columns: { [column: string]: string[] } = {}
  for (const column of await board.page.getByTestId('column').all()) {
    columns[(await column.getAttribute('data-id')) ?? ''] = await column.getByTestId('card-text').allInnerTexts()
  }
  return columns
}

/** Waits until two tabs show the same. */
export async function expectSame(a: Board, b: Board): Promise<void> {
  await expect.poll(async () => JSON.stringify(await shown(a)) === JSON.stringify(await shown(b))).toBe(true)
}
