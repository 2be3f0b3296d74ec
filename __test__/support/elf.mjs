// What a 64-bit little-endian ELF library needs of the system, read from the file: libraries, and versions of their
// symbols. Knows no other formats.
import { readFileSync } from 'node:fs'

const SECTION_DYNAMIC = 6
const SECTION_NEEDED_VERSIONS = 0x6ffffffe
const NEEDED_LIBRARY = 1

/** `{ libraries: ['libc.so.6', …], versions: ['GLIBC_2.17', …] }` */
export function needs(file) {
  const bytes = readFileSync(file)
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) throw new Error(`${file}: no such ELF`)
  const number = (at) => Number(bytes.readBigUInt64LE(at))
  const sections = Array.from({ length: bytes.readUInt16LE(0x3c) }, (_, index) => {
    const at = number(0x28) + index * bytes.readUInt16LE(0x3a)
    const [offset, size] = [number(at + 24), number(at + 32)]
    return { type: bytes.readUInt32LE(at + 4), offset, size, link: bytes.readUInt32LE(at + 40) }
  })
  const textAt = (section, offset) => {
    const start = sections[section.link].offset + offset
    return bytes.toString('latin1', start, bytes.indexOf(0, start))
  }
  const ofType = (type) => sections.filter((section) => section.type === type)

  const libraries = []
  for (const section of ofType(SECTION_DYNAMIC)) {
    for (let at = section.offset; at < section.offset + section.size; at += 16) {
      if (number(at) === NEEDED_LIBRARY) libraries.push(textAt(section, number(at + 8)))
    }
  }

  // A list of libraries, each with a list of versions; both are linked by distances from an entry to the next.
  const versions = []
  for (const section of ofType(SECTION_NEEDED_VERSIONS)) {
    for (let at = section.offset, next = -1; next !== 0; at += next) {
      for (let entry = at + bytes.readUInt32LE(at + 8), following = -1; following !== 0; entry += following) {
        versions.push(textAt(section, bytes.readUInt32LE(entry + 8)))
        following = bytes.readUInt32LE(entry + 12)
      }
      next = bytes.readUInt32LE(at + 12)
    }
  }
  return { libraries, versions }
}
