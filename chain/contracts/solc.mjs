#!/usr/bin/env node
// The compiler from npm in the shape in which forge looks for one: a program that answers
// `--version` as the native compiler does, and turns standard JSON into standard JSON. forge puts
// every source into the request, so that nothing is ever read from disk here.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const solc = createRequire(import.meta.url)('solc')

if (process.argv.includes('--version')) {
  process.stdout.write(
    `solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`,
  )
} else if (process.argv.includes('--standard-json')) {
  process.stdout.write(solc.compile(readFileSync(0, 'utf8')))
} else {
  process.stderr.write('solc.mjs knows --version and --standard-json only\n')
  process.exit(2)
}
