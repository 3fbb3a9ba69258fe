/** One server-sent event, or a field that stands alone. */
export interface ServerSentEvent {
  readonly id?: string
  readonly event?: string
  readonly retry?: string
  readonly data?: string
}

/** Reads a stream of server-sent events, as the HTML standard defines them; comments are passed over. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body) {
    const from = Math.max(0, text.length - 1)
    text += decoder.decode(chunk, { stream: true })
    if (!text.includes('\n\n', from)) continue
    const blocks = text.split('\n\n')
    text = blocks.pop()!
    for (const block of blocks) {
      const event = eventOf(block)
      if (event !== null) yield event
    }
  }
}

function eventOf(block: string): ServerSentEvent | null {
  const fields: { [name: string]: string } = {}
  for (const line of block.split('\n')) {
    const [, name, value] = /^(id|event|retry|data): ?(.*)$/s.exec(line) ?? []
    if (name !== undefined && value !== undefined) fields[name] = name === 'data' && name in fields ? `${fields[name]}\n${value}` : value
  }
  return Object.keys(fields).length === 0 ? null : fields
}
