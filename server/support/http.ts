import { onTestFinished } from 'vitest'

/** An answer over HTTP; JSON is read. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}
/** What is asked besides method and path. */
export interface Asked {
  readonly headers?: { readonly [name: string]: string }
  /** Sent as JSON, unless it is text or bytes. */
  readonly body?: unknown
}

/** Asks a server's HTTP API: `await ask('PUT', 'contexts/a', { body: { n: 1 } })`. */
export function asker(
  url: string,
  always: { readonly [name: string]: string } = {},
): (method: string, path: string, asked?: Asked) => Promise<Answer> {
  return async (method, path, { headers = {}, body } = {}) => {
    const raw = typeof body === 'string' || body instanceof Uint8Array
    const response = await fetch(`${url}/v1/${path}`, {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...always, ...headers },
      ...(body !== undefined && { body: raw ? (body as string) : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = (response.headers.get('content-type') ?? '').includes('json')
    return { status: response.status, headers: response.headers, body: isJson && text !== '' ? (JSON.parse(text) as unknown) : text }
  }
}

/** One server-sent event. */
export interface ServerEvent {
  readonly id?: string
  readonly event?: string
  readonly retry?: string
  readonly data?: unknown
}

/** A stream of server-sent events, read as they come; ended with the test. */
export class EventReader {
  readonly status: number
  readonly headers: Headers
  readonly #reader: ReadableStreamDefaultReader<string> | null
  readonly #controller: AbortController
  #text = ''
  /** Comments so far. */
  comments = 0

  private constructor(response: Response, controller: AbortController) {
    this.status = response.status
    this.headers = response.headers
    this.#controller = controller
    this.#reader = response.body?.pipeThrough(new TextDecoderStream()).getReader() ?? null
  }

  static async open(url: string, headers: { readonly [name: string]: string } = {}): Promise<EventReader> {
    const controller = new AbortController()
    onTestFinished(() => controller.abort())
    return new EventReader(await fetch(url, { headers, signal: controller.signal }), controller)
  }

  /** The next event; null: the stream has ended. */
  async next(): Promise<ServerEvent | null> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end < 0) {
        const { value, done } = await this.#reader!.read()
        if (done) return null
        this.#text += value
        continue
      }
      const block = this.#text.slice(0, end)
      this.#text = this.#text.slice(end + 2)
      if (block.startsWith(':')) this.comments += 1
      else return eventOf(block)
    }
  }

  close(): void {
    this.#controller.abort()
  }
}

function eventOf(block: string): ServerEvent {
  const fields = Object.fromEntries(block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]))
  return { ...fields, ...(fields['data'] !== undefined && { data: JSON.parse(fields['data']) as unknown }) }
}
