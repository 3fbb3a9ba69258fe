import { ContextdError } from './errors.ts'

/** An operation or a change that cannot be right on this state. */
export const invalid = (message: string): ContextdError<'invalid_operation'> => new ContextdError('invalid_operation', message)
/** An operation whose target somebody else has changed or removed. */
export const conflict = (message: string): ContextdError<'conflict'> => new ContextdError('conflict', message)
