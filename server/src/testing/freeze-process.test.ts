import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { freezeProcess } from './freeze-process.ts'

test('a process that is frozen does nothing from then on, until it is let go on', async () => {
  const child = spawn(process.execPath, ['-e', 'process.stdin.on("data", (text) => process.stdout.write(text))'])
  onTestFinished(() => void child.kill('SIGKILL'))
  const answers: string[] = []
  child.stdout.on('data', (text: Buffer) => answers.push(String(text)))
  child.stdin.write('a')
  await once(child.stdout, 'data')
  freezeProcess(child.pid!)
  expect(readFileSync(`/proc/${child.pid}/stat`, 'utf8')).toMatch(/\) T /)
  child.stdin.write('b')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(answers).toEqual(['a'])
  child.kill('SIGCONT')
  await once(child.stdout, 'data')
  expect(answers).toEqual(['a', 'b'])
})

test('a process that is gone is told', () => {
  expect(() => freezeProcess(2 ** 22 + 1)).toThrow('ESRCH')
})
