import { type ChildProcess, spawn } from 'node:child_process'

/**
 * A process that the tests started ends with them, even when the test process is killed: a shell waits
 * for the end of a pipe that only this process holds, then kills it and removes its folder.
 */
export function dieTogether(child: ChildProcess, folder = ''): void {
  const script = 'read -r done && exit 0; kill -9 "$1"; sleep 0.2; [ -z "$2" ] || rm -rf "$2"'
  const watcher = spawn('sh', ['-c', script, 'sh', String(child.pid), folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  watcher.unref()
  const pipe = watcher.stdin
  // The watcher may be gone first when the whole group is signalled.
  pipe?.on('error', () => undefined)
  child.once('exit', () => pipe?.end('done\n'))
}
