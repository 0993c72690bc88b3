// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient

/// Ending sessions: by their users, and by their time.
extension SessionScripts {
    /// KEYS sessions, record, records, ends, begins, logouts. ARGV sid, now, reason, retain. Returns 1 ended, 2 ended before, 0 unknown.
    static let end = RedisScript(
        common + """
            if not is(K[1], 'set') then return wrong end
            local sid, now, retain = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
            drop_ended(K[1], K[4], K[5], now)
            if redis.call('SREM', K[1], sid) == 1 then
              zrem(K[4], sid)
              zrem(K[5], sid)
              remember(K[2], K[3], sid, now, ARGV[3], retain)
              return 1
            end
            if redis.call('EXISTS', K[2]) == 0 then return 0 end
            again(K[2])
            if is(K[2], 'hash') and is(K[6], 'zset') then
              local known = redis.call('HMGET', K[2], 'created_at', 'expires_at', 'revoked_at')
              if ending(known, K[6], now, retain) == 'forgotten' then return 0 end
            end
            return 2
            """)

    /// KEYS sessions, ends, begins, logouts, revoked_before, records. ARGV now, reason, retain, moment or '', until. Returns how many were active.
    /// The one operation that ends them all is the UNLINK, whatever their number.
    ///
    /// `logouts` is what tells of them afterwards, as long as there are records of them: told for `retain`, and the last one that is no longer told
    /// stands for all before it, so that a session which is forgotten is not taken for one that another program has ended.
    static let endAll = RedisScript(
        common + """
            local now, retain = tonumber(ARGV[1]), tonumber(ARGV[3])
            if ARGV[4] ~= '' then
              local old = redis.call('GET', K[5])
              if old and not string.match(old, '^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?%d?$') then return redis.error_reply('ERR revoked_before is no number') end
              local was = life(K[5])
              local moment = math.max(tonumber(ARGV[4]), tonumber(old) or 0)
              redis.call('SET', K[5], string.format('%d', moment), 'KEEPTTL')
              keep(K[5], was, tonumber(ARGV[5]))
            end
            local count = 0
            if is(K[1], 'set') then
              count = redis.call('SCARD', K[1])
              local over, first = is(K[2], 'zset') and redis.call('ZCOUNT', K[2], '-inf', now) or 0, 0
              while first < over do
                local ids = redis.call('ZRANGE', K[2], first, math.min(first + 999, over - 1))
                for _, counted in ipairs(redis.call('SMISMEMBER', K[1], unpack(ids))) do count = count - counted end
                first = first + #ids
              end
            end
            local last = math.max(math.max(now, life(K[1]), life(K[2])) + retain, now + repeated)
            redis.call('UNLINK', K[1], K[2], K[3])
            -- Nothing in the index is told for longer from now on.
            if life(K[6]) > now + retain then redis.call('PEXPIREAT', K[6], now + retain) end
            again(K[4])
            if count > 0 and is(K[4], 'zset') then
              local was = life(K[4])
              local untold = redis.call('ZREVRANGEBYSCORE', K[4], now - retain, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
              if untold[2] then redis.call('ZREMRANGEBYSCORE', K[4], '-inf', '(' .. untold[2]) end
              redis.call('ZADD', K[4], now, ARGV[1] .. ':' .. ARGV[2])
              keep(K[4], was, last)
            end
            return count
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

    /// KEYS sessions, ends, begins. ARGV now. Takes out what is over and returns the next end, or -1.
    static let dropEnded = RedisScript(
        common + """
            if not (is(K[1], 'set') and is(K[2], 'zset')) then return wrong end
            drop_ended(K[1], K[2], K[3], tonumber(ARGV[1]))
            local next = redis.call('ZRANGE', K[2], 0, 0, 'WITHSCORES')
            return tonumber(next[2]) or -1
            """)
}
