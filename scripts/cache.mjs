// Folders that are filled once and stay, in a place that git doesn't know.
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * What `fill` puts into an empty folder, as the folder's path; null if it didn't succeed. A half-made one never stays.
 */
export async function once(folder, fill) {
  if (existsSync(folder)) return folder
  mkdirSync(dirname(folder), { recursive: true })
  const half = mkdtempSync(`${folder}-`)
  try {
    if (!(await fill(half))) return null
    renameSync(half, folder)
  } catch (error) {
    // Another process was quicker.
    if (!existsSync(folder)) throw error
  } finally {
    rmSync(half, { recursive: true, force: true })
  }
  return folder
}
