/** Watches what the browser says of its network, where there is a browser; returns the function that ends it. */
export function watchNetwork(online: () => void, offline: () => void): () => void {
  if (typeof globalThis.addEventListener !== 'function') return () => {}
  globalThis.addEventListener('online', online)
  globalThis.addEventListener('offline', offline)
  return () => {
    globalThis.removeEventListener('online', online)
    globalThis.removeEventListener('offline', offline)
  }
}

/** True where the browser is sure that there is no network. */
export function hasNoNetwork(): boolean {
  return typeof navigator === 'object' && (navigator as { readonly onLine?: boolean }).onLine === false
}
