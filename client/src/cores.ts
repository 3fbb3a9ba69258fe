/** The pure cores, for the simulator of this workspace. */
export { Outbox } from './outbox.ts'
export { Replica } from './replica.ts'
export type { ReplicaOptions } from './replica.ts'
export type { NewWrite, Phase, ReplicaEvent } from './replica-event.ts'
