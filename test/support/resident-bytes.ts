import { readFileSync } from 'node:fs'

const pageBytes = 4096

/** Memory that a process has in RAM. */
export function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * pageBytes
}
