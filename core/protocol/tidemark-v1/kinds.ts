/**
 * First bytes of messages. Below 0x40 from the client, above from the server. Never reuse one. Constants rather than an object, so that
 * bundlers put the numbers into their places.
 */
export const auth = 0x01
export const open = 0x02
export const push = 0x03
export const clientAwareness = 0x04
export const close = 0x05
export const ping = 0x06
export const part = 0x0f
export const welcome = 0x41
export const opened = 0x42
export const updates = 0x43
export const ack = 0x44
export const nack = 0x45
export const serverAwareness = 0x46
export const closed = 0x47
export const refused = 0x48
export const hint = 0x49
export const pong = 0x4a
export const caughtUp = 0x4b
export const durability = 0x4c
