/** Any JSON value. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject
/** A JSON object: what a context holds when nothing more is known about it. */
export type JsonObject = { [key: string]: JsonValue }
