// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient

/// Every change of more than one key is one of these: atomic, and in the slot of its user.
///
/// Times are milliseconds since 1970 as decimal text, made by the gateway that asks. The common part:
/// - `keep(key, at)`: a key lives as long as its longest entry; one that another program made without a TTL keeps living without.
/// - `record_key(sid)`: as `SessionKeys.record`. These keys are of the user's slot like the declared ones.
/// - `drop_ended(now)`: takes ids out of the set whose time is over.
enum SessionScripts {
    private static let common = """
        local function keep(key, at, was)
          local left = redis.call('PTTL', key)
          if left == -1 and was then return end
          if left < 0 or redis.call('PEXPIRETIME', key) < at then redis.call('PEXPIREAT', key, at) end
        end
        local function there(key) return redis.call('PTTL', key) == -1 end
        local function record_key(prefix, sid)
          return prefix .. string.gsub(sid, '[^A-Za-z0-9._@-]', function(c) return string.format('%%%02X', string.byte(c)) end)
        end
        local function drop_ended(sessions, ends, now)
          local over = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 1000)
          for _, sid in ipairs(over) do redis.call('SREM', sessions, sid) end
          if #over > 0 then redis.call('ZREM', ends, unpack(over)) end
        end
        local function revoke(record, records, sid, now, reason, retain)
          if retain == 0 then
            redis.call('DEL', record)
            redis.call('ZREM', records, sid)
            return
          end
          redis.call('HSET', record, 'revoked_at', now, 'revoke_reason', reason)
          redis.call('PEXPIREAT', record, now + retain)
          local was = there(records)
          redis.call('ZADD', records, 'NX', now, sid)
          keep(records, now + retain, was)
        end

        """

    /// KEYS sessions, record, records, ends. ARGV sid, now, expires_at, retain, max_per_user, record prefix, then names and values of the record.
    /// Returns the ids that had to give way.
    static let create = RedisScript(
        common + """
            local sid, now, ends_at, retain, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
            drop_ended(KEYS[1], KEYS[4], now)
            local was = {there(KEYS[1]), there(KEYS[3]), there(KEYS[4])}
            redis.call('SADD', KEYS[1], sid)
            redis.call('HSET', KEYS[2], unpack(ARGV, 7))
            redis.call('PEXPIREAT', KEYS[2], ends_at + retain)
            redis.call('ZADD', KEYS[3], now, sid)
            redis.call('ZADD', KEYS[4], ends_at, sid)
            keep(KEYS[1], ends_at, was[1])
            keep(KEYS[3], ends_at + retain, was[2])
            keep(KEYS[4], ends_at, was[3])
            local gone = {}
            local surplus = redis.call('SCARD', KEYS[1]) - most
            if surplus > 0 then
              for _, old in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
                if surplus <= 0 then break end
                if old ~= sid and redis.call('SREM', KEYS[1], old) == 1 then
                  redis.call('ZREM', KEYS[4], old)
                  revoke(record_key(ARGV[6], old), KEYS[3], old, now, 'max_per_user', retain)
                  gone[#gone + 1] = old
                  surplus = surplus - 1
                end
              end
            end
            return gone
            """)

    /// KEYS sessions, record, records, ends, logouts. ARGV sid, now, expires_at, retain. Returns 1, or 0 where the id is remembered as revoked.
    /// A logout from everywhere is in no record: it concerns what had begun and was not over by its time. What is over begins again.
    static let register = RedisScript(
        common + """
            local sid, now, ends_at, retain = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
            drop_ended(KEYS[1], KEYS[4], now)
            local known = redis.call('HMGET', KEYS[2], 'created_at', 'expires_at', 'revoked_at')
            local begins = redis.call('SISMEMBER', KEYS[1], sid) == 0
            if begins then
              if known[3] then return 0 end
              if known[1] then
                if (tonumber(known[2]) or now + 1) > now then return 0 end
                if #redis.call('ZRANGEBYSCORE', KEYS[5], known[1], '(' .. known[2], 'LIMIT', 0, 1) > 0 then return 0 end
              end
            end
            local was = {there(KEYS[1]), there(KEYS[3]), there(KEYS[4])}
            redis.call('SADD', KEYS[1], sid)
            if begins or not known[1] then redis.call('HSET', KEYS[2], 'created_at', now) end
            redis.call('HSET', KEYS[2], 'expires_at', ends_at)
            redis.call('PEXPIREAT', KEYS[2], ends_at + retain)
            if begins then redis.call('ZADD', KEYS[3], now, sid) else redis.call('ZADD', KEYS[3], 'NX', now, sid) end
            redis.call('ZADD', KEYS[4], ends_at, sid)
            keep(KEYS[1], ends_at, was[1])
            keep(KEYS[3], ends_at + retain, was[2])
            keep(KEYS[4], ends_at, was[3])
            return 1
            """)

    /// KEYS sessions, record, records, ends. ARGV sid, now, reason, retain. Returns 1 ended, 2 ended before, 0 unknown.
    static let end = RedisScript(
        common + """
            local sid, now, retain = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
            drop_ended(KEYS[1], KEYS[4], now)
            if redis.call('SREM', KEYS[1], sid) == 1 then
              redis.call('ZREM', KEYS[4], sid)
              revoke(KEYS[2], KEYS[3], sid, now, ARGV[3], retain)
              return 1
            end
            if redis.call('EXISTS', KEYS[2]) == 1 then return 2 end
            return 0
            """)

    /// KEYS sessions, ends, logouts, revoked_before, records. ARGV now, reason, retain, moment or '', until. Returns how many were active.
    /// The one operation that ends them all is the UNLINK, whatever their number.
    static let endAll = RedisScript(
        common + """
            local now, retain = tonumber(ARGV[1]), tonumber(ARGV[3])
            if ARGV[4] ~= '' then
              local old = redis.call('GET', KEYS[4])
              if old and not string.match(old, '^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?$') then return redis.error_reply('ERR revoked_before is no number') end
              local was = there(KEYS[4])
              local moment = math.max(tonumber(ARGV[4]), tonumber(old) or 0)
              redis.call('SET', KEYS[4], string.format('%d', moment), 'KEEPTTL')
              keep(KEYS[4], tonumber(ARGV[5]), was)
            end
            drop_ended(KEYS[1], KEYS[2], now)
            local count = redis.pcall('SCARD', KEYS[1])
            if type(count) ~= 'number' then count = 0 end
            redis.call('UNLINK', KEYS[1], KEYS[2])
            -- Nothing of them is to be listed: the index is all that lists them.
            if retain == 0 then redis.call('UNLINK', KEYS[5]) end
            if count > 0 and retain > 0 then
              local was = there(KEYS[3])
              redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - retain)
              redis.call('ZADD', KEYS[3], now, ARGV[1] .. ':' .. ARGV[2])
              keep(KEYS[3], now + retain, was)
            end
            return count
            """)

    /// KEYS revoked. ARGV sid, until.
    static let revoke = RedisScript(
        common + """
            local was = there(KEYS[1])
            redis.call('SADD', KEYS[1], ARGV[1])
            keep(KEYS[1], tonumber(ARGV[2]), was)
            return 1
            """)

    /// KEYS sessions, records, ends, logouts. ARGV now, record prefix. Returns {{score, logout, …}, {sid, is member, {record}}, …}.
    static let list = RedisScript(
        common + """
            drop_ended(KEYS[1], KEYS[3], tonumber(ARGV[1]))
            local result = {redis.call('ZRANGE', KEYS[4], 0, -1)}
            local seen = {}
            for _, sid in ipairs(redis.call('SMEMBERS', KEYS[1])) do
              seen[sid] = true
              result[#result + 1] = {sid, 1, redis.call('HGETALL', record_key(ARGV[2], sid))}
            end
            for _, sid in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
              if not seen[sid] then
                local record = redis.call('HGETALL', record_key(ARGV[2], sid))
                if #record == 0 then redis.call('ZREM', KEYS[2], sid) else result[#result + 1] = {sid, 0, record} end
              end
            end
            return result
            """)

    /// KEYS sessions, record, records, ends. ARGV sid, presented, successor, proven, now, window, refresh lifetime, session lifetime, retain.
    /// The decision is `RotationRule.decide` in Lua. Returns {decision, {record}}.
    static let rotate = RedisScript(
        common + """
            local sid, presented, now, retain = ARGV[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[9])
            local r = redis.call('HMGET', KEYS[2], 'refresh_hash', 'previous_hash', 'rotated_at', 'expires_at', 'created_at')
            local current, previous = r[1] == presented, r[2] == presented
            if not (current or previous or ARGV[4] == '1') then return {'unknown'} end
            local in_window = previous and now - (tonumber(r[3]) or 0) < tonumber(ARGV[6])
            local over = (tonumber(r[4]) or now + 1) <= now
            if redis.call('SISMEMBER', KEYS[1], sid) == 0 then
              -- Once its time is over anybody may have taken it out of the set; that is not what ended it.
              if over and (current or in_window) and redis.call('HEXISTS', KEYS[2], 'revoked_at') == 0 then return {'expired'} end
              return {'ended'}
            end
            if not (current or in_window) then
              redis.call('SREM', KEYS[1], sid)
              redis.call('ZREM', KEYS[4], sid)
              revoke(KEYS[2], KEYS[3], sid, now, 'refresh_reuse', retain)
              return {'reused'}
            end
            if over then return {'expired'} end
            if in_window and not current then return {'repeated', redis.call('HGETALL', KEYS[2])} end
            local ends_at = math.min(now + tonumber(ARGV[7]), (tonumber(r[5]) or now) + tonumber(ARGV[8]))
            local was = {there(KEYS[1]), there(KEYS[3]), there(KEYS[4])}
            redis.call('HSET', KEYS[2], 'refresh_hash', ARGV[3], 'previous_hash', presented, 'rotated_at', now, 'last_seen_at', now, 'expires_at', ends_at)
            redis.call('PEXPIREAT', KEYS[2], ends_at + retain)
            redis.call('ZADD', KEYS[4], 'XX', ends_at, sid)
            keep(KEYS[1], ends_at, was[1])
            keep(KEYS[3], ends_at + retain, was[2])
            if redis.call('EXISTS', KEYS[4]) == 1 then keep(KEYS[4], ends_at, was[3]) end
            return {'rotated', redis.call('HGETALL', KEYS[2])}
            """)

    /// Redis' own clock: the gateways of a fleet must agree about what is over.
    private static let clock = """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)

        """

    /// KEYS failures. ARGV id, limit, window. A sorted set by time: `r` and the id of an attempt that runs, `f` and that of one that has failed.
    static let beginAttempt = RedisScript(
        clock + """
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
            local count, failed = 0, 0
            for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
              count = count + 1
              if string.sub(member, 1, 1) == 'f' then failed = failed + 1 end
            end
            if failed >= tonumber(ARGV[2]) then return 'limited' end
            if count >= tonumber(ARGV[2]) then return 'crowded' end
            redis.call('ZADD', KEYS[1], now, 'r' .. ARGV[1])
            redis.call('PEXPIRE', KEYS[1], ARGV[3])
            return 'admitted'
            """)

    /// KEYS failures. ARGV id, failed, window.
    static let endAttempt = RedisScript(
        clock + """
            redis.call('ZREM', KEYS[1], 'r' .. ARGV[1])
            if ARGV[2] == '1' then
              redis.call('ZADD', KEYS[1], now, 'f' .. ARGV[1])
              redis.call('PEXPIRE', KEYS[1], ARGV[3])
            end
            return 'done'
            """)

    private static let keepDue = """
        local function keep_due(at)
          if redis.call('PTTL', KEYS[1]) < 0 or redis.call('PEXPIRETIME', KEYS[1]) < at + 60000 then redis.call('PEXPIREAT', KEYS[1], at + 60000) end
        end

        """

    /// KEYS due. ARGV tag, end. The earliest end of a user counts. Whatever it was, it changes: a sweep that looked before sees that in `settle`.
    static let noteEnd = RedisScript(
        keepDue + """
            local was, ends_at = redis.call('ZSCORE', KEYS[1], ARGV[1]), tonumber(ARGV[2])
            redis.call('ZADD', KEYS[1], was and math.min(tonumber(was) - 1, ends_at) or ends_at, ARGV[1])
            keep_due(ends_at)
            return 1
            """)

    /// KEYS due. ARGV tag, the end that was due, the user's next or -1. Changes nothing if anybody has noted an end meanwhile.
    static let settle = RedisScript(
        keepDue + """
            local is, next = redis.call('ZSCORE', KEYS[1], ARGV[1]), tonumber(ARGV[3])
            if not is or tonumber(is) ~= tonumber(ARGV[2]) then return 0 end
            if next < 0 then return redis.call('ZREM', KEYS[1], ARGV[1]) end
            redis.call('ZADD', KEYS[1], next, ARGV[1])
            keep_due(next)
            return 1
            """)

    /// KEYS sessions, ends. ARGV now. Takes out what is over and returns the next end, or -1.
    static let dropEnded = RedisScript(
        common + """
            drop_ended(KEYS[1], KEYS[2], tonumber(ARGV[1]))
            local next = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
            return tonumber(next[2]) or -1
            """)
}
