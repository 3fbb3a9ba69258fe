import { Violation } from '../violation.ts'
import { absentIsNotAlwaysTheSame, attemptOnANewBase } from './attempts.ts'
import { headGoesBackAndNobodyWrites, lastPublicationIsLost } from './beacons.ts'
import { lateRequestOfAForgottenSession } from './expiry.ts'
import { epochIsNotUsedTwice, epochThatWasSetBack, fenceInAnotherIncarnation, lateRequestOfAnOlderEpoch } from './fences.ts'
import { inDoubtAndThenRefused, lateCreationOfALifeThatIsOver, rolledBackToTheOwnHead, writesBehindADelete } from './found-by-seeds.ts'
import { writesBehindACreatingOne } from './lives.ts'

/** The directed schedules: orders of events that chance finds too rarely. */
export const schedules: ReadonlyMap<string, () => void> = new Map(
  Object.entries({
    'a late request of an older epoch': lateRequestOfAnOlderEpoch,
    'an epoch is not used twice': epochIsNotUsedTwice,
    'an epoch that was set back is fenced': epochThatWasSetBack,
    'a late request of a forgotten session': lateRequestOfAForgottenSession,
    'a fence in another incarnation': fenceInAnotherIncarnation,
    'an attempt on a new base': attemptOnANewBase,
    'absent is not always the same': absentIsNotAlwaysTheSame,
    'writes behind a creating one': writesBehindACreatingOne,
    'the head goes back and nobody writes': headGoesBackAndNobodyWrites,
    'the last publication is lost': lastPublicationIsLost,
    'seed-17, writes behind a delete': writesBehindADelete,
    'seed-234, in doubt and then refused': inDoubtAndThenRefused,
    'seed-1740, rolled back to the own head': rolledBackToTheOwnHead,
    'seed-6175, a late creation of a life that is over': lateCreationOfALifeThatIsOver,
  }),
)

/** Runs a schedule; null: every check held. */
export function runSchedule(name: string): string | null {
  const schedule = schedules.get(name)
  if (!schedule) throw new TypeError(`no schedule "${name}"`)
  try {
    schedule()
    return null
  } catch (error) {
    return error instanceof Violation ? error.message : `crashed: ${error instanceof Error ? error.stack : String(error)}`
  }
}
