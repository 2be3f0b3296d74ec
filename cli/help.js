'use strict'

// The texts of --help, from the tables of the commands.

const { CONNECTION, GENERAL } = require('./arguments.js')
const { codes, EXITS } = require('./exits.js')
const { table } = require('./text.js')

function optionLines(options) {
  const rows = Object.entries(options).map(([name, { value, short, help }]) => [
    `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`,
    help,
  ])
  return table(rows, '  ')
}

const example = ([line, what]) => `  ${line}\n      ${what}`

const section = (title, lines) => (lines.length === 0 ? [] : ['', `${title}:`, ...lines])

/** The help of one command. */
function helpOf(command) {
  const { name, usage, about, options = {}, examples, exits } = command
  const ends = ['ok', ...exits, 'usage', 'unavailable', 'protocol'].map((end) => [String(codes[end]), EXITS[end][1]])
  const others = (command.others ?? []).map(([code, meaning]) => [code, meaning])
  return [
    `usage: concurrency-limit ${name} ${usage}`.trimEnd(),
    '',
    ...about,
    ...section('examples', examples.map(example)),
    ...section('options', optionLines(options)),
    ...section('options of every command', optionLines({ ...CONNECTION, ...GENERAL })),
    ...section('exit codes', table([...others, ...ends], '  ')),
  ].join('\n')
}

/** The help of all commands. */
function overview(commands) {
  return [
    'usage: concurrency-limit COMMAND [options]',
    '',
    'Shows who holds and who waits under the limits that a Redis keeps, and runs commands under them.',
    ...section(
      'commands',
      table(
        commands.map(({ name, summary }) => [name, summary]),
        '  ',
      ),
    ),
    ...section('examples', [
      example(['REDIS_URL=redis://localhost concurrency-limit status', 'who holds and who waits, for every key']),
      example([
        'concurrency-limit run --redis redis://localhost --key backup --limit 1 --timeout 0 -- ./backup.sh',
        'a job that runs once at a time over all machines, or not at all',
      ]),
      example(['concurrency-limit doctor', 'whether this Redis is set up well for limits, and what to change']),
    ]),
    ...section('options of every command', optionLines({ ...CONNECTION, ...GENERAL })),
    '',
    'concurrency-limit COMMAND --help says more, with examples and exit codes.',
    'A password belongs into REDIS_URL: others on this machine can read a command line.',
  ].join('\n')
}

module.exports = { helpOf, overview }
