import { bareEtag } from './etag.ts'

/** An object of a listing. */
export interface ListedObject {
  readonly name: string
  readonly etag: string
  /** When it was last written, by the store's clock, ms. */
  readonly writtenAt: number
}
/** A page of a listing. */
export interface Listing {
  readonly objects: readonly ListedObject[]
  /** Where the next page begins; null: this was the last. */
  readonly next: string | null
}

/** Reads the answer of ListObjectsV2. Its elements hold text only, so that no parser of XML is needed. */
export function parseListing(xml: string): Listing {
  const objects = [...xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, object = '']) => ({
    name: textOf(object, 'Key'),
    etag: bareEtag(textOf(object, 'ETag')),
    writtenAt: Date.parse(textOf(object, 'LastModified')),
  }))
  const isCut = textOf(xml, 'IsTruncated') === 'true'
  return { objects, next: isCut ? textOf(xml, 'NextContinuationToken') : null }
}

/** Code of an error's answer; '' when it has none. */
export const parseError = (xml: string): string => (/<Error>/.test(xml) ? textOf(xml, 'Code') : '')

function textOf(xml: string, element: string): string {
  const text = new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml)?.[1] ?? ''
  return text.replace(
    /&(?:(lt|gt|quot|apos|amp)|#(\d+)|#x([0-9a-f]+));/gi,
    (all: string, name?: string, decimal?: string, hex?: string) => {
      if (name !== undefined) return entities[name.toLowerCase()] ?? all
      return String.fromCodePoint(decimal !== undefined ? Number(decimal) : Number.parseInt(hex ?? '0', 16))
    },
  )
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
