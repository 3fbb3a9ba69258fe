export { backendContract } from './backend-contract.ts'
export type { ContractCase, StoreUnderTest } from './backend-contract.ts'
export { startRedisServer } from './redis-server.ts'
export { SharedMemory } from './shared-memory.ts'
