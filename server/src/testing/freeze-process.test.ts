import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync } from 'node:fs'
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
  child.stdin.write('b')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(answers).toEqual(['a'])
  child.kill('SIGCONT')
  await once(child.stdout, 'data')
  expect(answers).toEqual(['a', 'b'])
})

test('all threads of a process stand, though they are more than can run at once', async () => {
  const busy = `const { Worker } = require('node:worker_threads')
for (let n = 0; n < 6; n += 1) new Worker('for (;;);', { eval: true })
setTimeout(() => process.stdout.write('busy'), 300)`
  const child = spawn(process.execPath, ['-e', busy])
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  freezeProcess(child.pid!)
  const tasks = `/proc/${child.pid}/task`
  const states = readdirSync(tasks).map((task) => readFileSync(`${tasks}/${task}/stat`, 'utf8').replace(/^.*\) (.).*$/s, '$1'))
  expect(states.length).toBeGreaterThan(6)
  expect(states.filter((state) => state !== 'T')).toEqual([])
})

test('a process that is gone is told', () => {
  expect(() => freezeProcess(2 ** 22 + 1)).toThrow('ESRCH')
})
