const base64url = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** Characters of an id: five bits each, and no two of them differ by case alone. */
const idCharacters = '0123456789abcdefghijklmnopqrstuv'
const idLength = 24

/** Random bytes, asked for in blocks: one call of the system for many tokens. No byte is used twice. */
const block = new Uint8Array(2_048)
let used = block.length

function randomText(length: number, characters: string): string {
  const mask = characters.length - 1
  let text = ''
  for (let count = 0; count < length; count += 1) {
    if (used === block.length) {
      crypto.getRandomValues(block)
      used = 0
    }
    text += characters[block[used]! & mask]
    used += 1
  }
  return text
}

/**
 * Makes a random text of the 64 characters of base64url, six random bits each.
 *
 * @param length number of characters; 22 carry 132 bits
 */
export function randomToken(length: number): string {
  return randomText(length, base64url)
}

/** Makes a random id that is valid as a context id and as an item key: 24 characters of `0-9 a-v`, 120 random bits. */
export function createId(): string {
  return randomText(idLength, idCharacters)
}
