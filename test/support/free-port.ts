export { freePort } from '../../bench/harness/free-port.ts'
