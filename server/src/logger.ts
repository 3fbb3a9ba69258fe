import { loggable } from './log-details.ts'

/** Where logs go; states are never logged. Pino, and whatever else has these four functions, is one as it is. */
export interface Logger {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
  error(details: object, message: string): void
}

/** Says nothing: the default of the engine. */
export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const careful = new WeakSet<Logger>([silentLogger])

/** A logger that is handed only what may be logged; see {@link loggable}. */
export function carefulLogger(logger: Logger): Logger {
  if (careful.has(logger)) return logger
  const made: Logger = {
    debug: (details, message) => logger.debug(loggable(details), message),
    info: (details, message) => logger.info(loggable(details), message),
    warn: (details, message) => logger.warn(loggable(details), message),
    error: (details, message) => logger.error(loggable(details), message),
  }
  careful.add(made)
  return made
}
