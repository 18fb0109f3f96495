/**
 * The function library that runs inside Redis. A function is atomic: nothing comes between the
 * entries of one call, and a load never sees half a compaction.
 *
 *   append   KEYS log…  ARGV node, sentinel, request      → one line per key (append-request.ts)
 *            for each key: leave out pushes the replicas hash knows, XADD the rest, and publish them
 *            with the offset of the first, unless this node's own subscription is the only one
 *   read     KEYS log   ARGV after, bytesMax, 'tail'?     → head, snapshot offset, first, entries
 *   heads    KEYS log…  ARGV offset…                      → per key: head, the entry at that offset or false
 *   compact  KEYS log   ARGV expected, offset, bytes, index, metadata, replicasMax → 1 or 0
 *   changes  KEYS changes  ARGV after, countMax           → (id, sequence)*
 *   release  KEYS lease ARGV token                        → 1 or 0
 *
 * Numbering: `XADD key 0-*` gives 0-1, 0-2, … and the stream remembers its last id when trimmed to
 * nothing. If the stream itself was lost while a snapshot stands, the first append finds itself at 1
 * and starts again behind the snapshot; `compact` likewise lifts a stream that ends before it.
 *
 * Measured on Redis 7.0.15, microseconds of client and server CPU per append, 25 and 500 documents a
 * tick: pipelined XADD 16 + 3.6 and 13 + 2.0; one FCALL per document 15 + 5.8 and 13 + 4.2; one FCALL
 * for all with an argument per entry 3.4 + 3.7 and 1.2 + 2.5; with all entries packed in one argument,
 * as here, 2.4 + 3.3 and 0.45 + 2.3. Asking who listens costs 0.2 in the server; publishing to nobody
 * costs more, to oneself far more.
 *
 * What changed: a call of `append` has a sequence, and one ZADD moves its documents there: 0.9 each. Ids that are
 * new there are added to the list of documents, so no acked one can be missing. The sequence is the time in
 * microseconds, or one more than the last; a counter would fall behind its readers when Redis comes back with
 * less than it acked. Rejected: a buffer that is folded into the set now and then (0.5 for documents that
 * change all the time, 2.2 with 100,000 of them in turn).
 *
 * The name carries a hash of the code, so that nodes of different versions can share a server. Libraries of old
 * versions stay, some kB each: were one deleted under a node that runs it, a batch could overtake another.
 */
import { createHash } from 'node:crypto'
import { changesKey, documentsKey } from './keys.ts'

const source = `
local function offsetOf(id)
  return tonumber(string.sub(id, 3))
end

local function text(number)
  return string.format('%.0f', number)
end

local function sibling(log, name)
  return string.sub(log, 1, -4) .. name
end

-- The log's head as the stream knows it; 0 when there is no stream.
local function streamHead(log)
  if redis.call('EXISTS', log) == 0 then return 0 end
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return offsetOf(info[i + 1]) end
  end
end

local function snapshotOffset(log)
  local offset = tonumber(redis.call('HGET', sibling(log, 'snapshot'), 'offset') or '0')
  if not offset then error(redis.error_reply('CORRUPT the snapshot has no offset'), 0) end
  return offset
end

-- The stream has just numbered its first entry 1: right, unless a snapshot stands and the stream was lost.
local function beginBehindSnapshot(log, entry)
  local ok, found = pcall(snapshotOffset, log)
  if ok and found == 0 then return '1' end
  redis.call('DEL', log)
  if not ok then error(found, 0) end
  return string.sub(redis.call('XADD', log, '0-' .. text(found + 1), 'e', entry), 3)
end

local function lastPush(log, replica)
  local found = redis.call('HGET', sibling(log, 'replicas'), replica)
  local sequence, offset = string.match(found or '', '^(%d+):(%d+)$')
  return { tonumber(sequence or '-1'), offset or '0' }
end

-- Appends the entries of one document; gives the reply line, the first offset and the new entries.
local function appendTo(log, request, at, count)
  local first, fresh, offsets, known, changed
  for i = 1, count do
    local size, replicaSize, replica, sequence, offset, entry
    size, replicaSize, at = struct.unpack('>I4I2', request, at)
    if replicaSize > 0 then
      known, changed = known or {}, changed or {}
      replica = string.sub(request, at, at + replicaSize - 2)
      sequence, at = struct.unpack('>I8', request, at + replicaSize - 1)
      known[replica] = known[replica] or lastPush(log, replica)
    end
    if replica and sequence <= known[replica][1] then
      if not offsets then
        offsets = {}
        for j = 1, i - 1 do offsets[j] = text(tonumber(first) + j - 1) end
      end
      offsets[i] = '-' .. known[replica][2]
    else
      entry = string.sub(request, at, at + size - 1)
      offset = string.sub(redis.call('XADD', log, '0-*', 'e', entry), 3)
      if offset == '1' then offset = beginBehindSnapshot(log, entry) end
      if first then fresh[#fresh + 1] = entry else first, fresh = offset, { entry } end
      if offsets then offsets[i] = offset end
      if replica then
        known[replica] = { sequence, offset }
        changed[replica] = true
      end
    end
    at = at + size
  end
  for replica in pairs(changed or {}) do
    local last = text(known[replica][1]) .. ':' .. known[replica][2]
    redis.call('HSET', sibling(log, 'replicas'), replica, last)
  end
  return offsets and table.concat(offsets, ' ') or first, first, fresh
end

-- The id whose log's key this is; nil for what only Tidemark names.
local function idOf(log)
  if string.byte(log, 11) < 32 then return nil end
  local id = string.sub(log, 11, -6)
  if not string.find(id, '%', 1, true) then return id end
  return (string.gsub(id, '%%(%x%x)', function(code) return string.char(tonumber(code, 16)) end))
end

local function nextSequence()
  local time, last = redis.call('TIME'), redis.call('ZRANGE', '${changesKey}', '-1', '-1', 'WITHSCORES')[2]
  return text(math.max(time[1] * 1000000 + time[2], tonumber(last or '0') + 1))
end

-- Of the command that moves documents to their latest place: the scores and ids.
local function noteChanges(command)
  if redis.call(unpack(command)) == 0 then return end
  command[2] = '${documentsKey}'
  for i = 3, #command, 2 do command[i] = '0' end
  redis.call(unpack(command))
end

local function append(keys, args)
  local node, request = args[1], args[3]
  if #keys == 0 then return '' end
  local channels = { 'PUBSUB', 'SHARDNUMSUB', args[2] }
  for k = 1, #keys do channels[3 + k] = sibling(keys[k], 'feed') end
  local listeners = redis.call(unpack(channels))
  local heard = listeners[2] == 1
  local sender = struct.pack('>B', #node) .. node
  local lines, at, sequence = {}, 1, nil
  local changed, last = { 'ZADD', '${changesKey}' }, 2
  for k = 1, #keys do
    local own, entries, size, messages
    own, entries, size, messages, at = struct.unpack('>BI4I4I4', request, at)
    local ok, line, first, fresh = true, '', nil, nil
    if entries > 0 then
      ok, line, first, fresh = pcall(appendTo, keys[k], request, at, entries)
      if not ok then
        line = '!' .. string.gsub(type(line) == 'table' and line.err or tostring(line), '\\n', ' ')
      end
    end
    lines[k] = line
    local id = first and idOf(keys[k])
    if id then
      sequence = sequence or nextSequence()
      changed[last + 1], changed[last + 2] = sequence, id
      last = last + 2
    end
    at = at + size
    local count = listeners[2 + 2 * k]
    local publish = count > 0 and not (heard and own == 1 and count == 1)
    if publish and ok and first then
      local message = { 'e', sender, struct.pack('>I8', tonumber(first)) }
      for i = 1, #fresh do message[3 + i] = struct.pack('>I4', #fresh[i]) .. fresh[i] end
      redis.call('SPUBLISH', channels[3 + k], table.concat(message))
    end
    for _ = 1, messages do
      size, at = struct.unpack('>I4', request, at)
      if publish then
        local bytes = string.sub(request, at, at + size - 1)
        redis.call('SPUBLISH', channels[3 + k], 'p' .. sender .. bytes)
      end
      at = at + size
    end
  end
  if last > 2 then noteChanges(changed) end
  return table.concat(lines, '\\n')
end

local function read(keys, args)
  local log, after, bytesMax = keys[1], tonumber(args[1]), tonumber(args[2])
  local offset = snapshotOffset(log)
  if args[3] == 'tail' and after < offset then after = offset end
  local entries, first, bytes, last, found = {}, 0, 0, after, nil
  repeat
    found = redis.call('XRANGE', log, '0-' .. text(last + 1), '+', 'COUNT', '32')
    for i = 1, #found do
      local at, fields = offsetOf(found[i][1]), found[i][2]
      if first == 0 then first, last = at, at - 1 end
      if at ~= last + 1 or string.sub(found[i][1], 1, 2) ~= '0-' or fields[1] ~= 'e' then
        return redis.error_reply('CORRUPT the stream breaks off after ' .. text(last))
      end
      last, bytes = at, bytes + #fields[2]
      entries[#entries + 1] = fields[2]
    end
  until #found < 32 or bytes >= bytesMax
  local head = math.max(streamHead(log), offset)
  return { head, offset, first, entries }
end

local function heads(keys, args)
  local found = {}
  for k = 1, #keys do
    found[2 * k - 1] = math.max(streamHead(keys[k]), snapshotOffset(keys[k]))
    local entry = false
    if args[k] ~= '0' then
      local at = '0-' .. args[k]
      entry = redis.call('XRANGE', keys[k], at, at)[1] or false
      if entry then entry = entry[2][2] or false end
    end
    found[2 * k] = entry
  end
  return found
end

local function prune(replicas, max)
  if redis.call('HLEN', replicas) <= max then return end
  local all, flat = {}, redis.call('HGETALL', replicas)
  for i = 1, #flat, 2 do
    all[#all + 1] = { flat[i], tonumber(string.match(flat[i + 1], ':(%d+)$') or '0') }
  end
  table.sort(all, function(a, b) return a[2] > b[2] end)
  for i = max + 1, #all do redis.call('HDEL', replicas, all[i][1]) end
end

local function compact(keys, args)
  local log, offset = keys[1], tonumber(args[2])
  if snapshotOffset(log) ~= tonumber(args[1]) or offset < math.max(1, tonumber(args[1])) then return 0 end
  if offset > streamHead(log) then redis.call('XADD', log, '0-' .. args[2], 'e', '') end
  prune(sibling(log, 'replicas'), tonumber(args[6]))
  local snapshot = sibling(log, 'snapshot')
  redis.call('HSET', snapshot, 'offset', args[2], 'bytes', args[3], 'index', args[4], 'metadata', args[5])
  redis.call('XTRIM', log, 'MINID', '=', '0-' .. text(offset + 1))
  return 1
end

-- All that share a sequence, or none of them.
local function changes(keys, args)
  local after, count = '(' .. args[1], tonumber(args[2])
  local final = redis.call('ZRANGE', keys[1], after, '+inf', 'BYSCORE', 'LIMIT', count - 1, 1, 'WITHSCORES')[2]
  local found = redis.call('ZRANGE', keys[1], after, final or '+inf', 'BYSCORE', 'WITHSCORES')
  for i = 2, #found, 2 do found[i] = tonumber(found[i]) end
  return found
end

local function release(keys, args)
  if redis.call('GET', keys[1]) ~= args[1] then return 0 end
  return redis.call('DEL', keys[1])
end
`

const revision = createHash('sha256').update(source).digest('hex').slice(0, 8)
export const libraryName = `tidemark_${revision}`

export type FunctionName = 'append' | 'read' | 'heads' | 'compact' | 'changes' | 'release'

export const functionNames = {
  append: `${libraryName}_append`,
  read: `${libraryName}_read`,
  heads: `${libraryName}_heads`,
  compact: `${libraryName}_compact`,
  changes: `${libraryName}_changes`,
  release: `${libraryName}_release`,
} as const satisfies Record<FunctionName, string>

/** Those that write nothing. */
export const readers: readonly FunctionName[] = ['read', 'heads', 'changes']

const registrations = Object.entries(functionNames).map(([short, name]) =>
  readers.includes(short as FunctionName)
    ? `redis.register_function{ function_name = '${name}', callback = ${short}, flags = { 'no-writes', 'allow-oom' } }`
    : `redis.register_function('${name}', ${short})`,
)

export const libraryCode = `#!lua name=${libraryName}\n${source}\n${registrations.join('\n')}\n`
