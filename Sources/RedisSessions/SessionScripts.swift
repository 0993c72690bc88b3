// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient

/// Every change of more than one key is one of these: atomic, and in the slot of its user.
///
/// Times are milliseconds since 1970 as decimal text, made by the gateway that asks.
///
/// Redis undoes nothing when a script fails halfway. So each looks at the types of the keys that it depends on before it writes anything, and adds to
/// the set of active sessions last. Taking out of the set depends on the set alone: what a broken key beside it (`records:`, `ends:`, `begins:`,
/// `logouts:`, a record) cannot tell or keep is left out then, and the key as it is.
enum SessionScripts {
    /// What the scripts have in common:
    /// - `K`: the keys, of which Redis is told the first alone (`RedisConnections.runForUser`). While a cluster's slot moves, Redis lets no command
    ///   through that names a key which does not exist yet; so all are looked at before anything is written, and only one that is on another node
    ///   makes the script wait.
    /// - `is(key, kind)`: the key is of that type, or not there. `wrong`: the reply where it is not.
    /// - `life(key)`, `keep(key, life before, at)`: a key lives as long as its longest entry; one that another program made without an end keeps living
    ///   without.
    /// - `again(key)`: has the key's end replicated once more. WAIT counts what its own connection has written last: after a logout that was ended
    ///   before, and perhaps not replicated, that has to be something.
    /// - `record_key(prefix, sid)`: as `SessionKeys.record`. These keys are of the user's slot like the declared ones.
    /// - `drop_ended`: takes ids out of the set whose time is over, at most 1000 at once.
    /// - `remember`: writes down that a session which has been taken out of the set was ended, for as long as that is told.
    /// - `ending`: why a session is not in the set, from its record: `revoked`, `time`, `forgotten` (an ending that is no longer told), or `other`
    ///   (another program took it out). A logout from everywhere is in no record: it concerns what had begun and was not over by its time.
    static let common = """
        local K, further = {KEYS[1]}, tonumber(ARGV[#ARGV])
        for index = 1, further do K[index + 1] = ARGV[#ARGV - further - 1 + index] end
        for _, key in ipairs(K) do
          if redis.pcall('TYPE', key).err then return redis.error_reply('TRYAGAIN a key of the user is on another node') end
        end
        local wrong = redis.error_reply('WRONGTYPE a key of the user is of another type')
        local skew, repeated = \(ClockSkew.tolerance), \(RepeatedEnding.time)
        local function is(key, kind)
          local found = redis.call('TYPE', key).ok
          return found == kind or found == 'none'
        end
        local function life(key) return redis.call('PEXPIRETIME', key) end
        local function keep(key, was, at)
          if was ~= -1 then redis.call('PEXPIREAT', key, math.max(was, at)) end
        end
        local function again(key)
          local at = life(key)
          if at > 0 then redis.call('PEXPIREAT', key, at) end
        end
        local function record_key(prefix, sid)
          return prefix .. string.gsub(sid, '[^A-Za-z0-9._@-]', function(c) return string.format('%%%02X', string.byte(c)) end)
        end
        local function zrem(key, ...)
          if is(key, 'zset') then redis.call('ZREM', key, ...) end
        end
        local function drop_ended(sessions, ends, begins, now)
          if not is(ends, 'zset') then return end
          local over = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 1000)
          if #over == 0 then return end
          redis.call('SREM', sessions, unpack(over))
          redis.call('ZREM', ends, unpack(over))
          zrem(begins, unpack(over))
        end
        local function remember(record, records, sid, now, reason, retain)
          if is(record, 'hash') then
            -- Nothing is told of it then, and all that stays for a while is what `again` needs.
            if retain == 0 then redis.call('DEL', record) end
            redis.call('HSET', record, 'revoked_at', now, 'revoke_reason', reason)
            redis.call('PEXPIREAT', record, now + (retain > 0 and retain or repeated))
          end
          if retain == 0 then return zrem(records, sid) end
          if is(records, 'zset') then
            local was = life(records)
            redis.call('ZADD', records, now + retain, sid)
            keep(records, was, now + retain)
          end
        end
        local function ending(known, logouts, now, retain)
          local created, over, at = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
          if known[3] and not at then return 'revoked' end
          if not at then
            local last = over and string.format('(%d', over) or '+inf'
            at = tonumber(redis.call('ZRANGEBYSCORE', logouts, created or '-inf', last, 'WITHSCORES', 'LIMIT', 0, 1)[2])
          end
          if at then return retain > 0 and at > now - retain and 'revoked' or 'forgotten' end
          return over and over <= now + skew and 'time' or 'other'
        end

        """

    /// KEYS revoked. ARGV sid, until.
    static let revoke = RedisScript(
        common + """
            local was = life(K[1])
            if redis.call('SADD', K[1], ARGV[1]) == 0 and was == -1 then
              -- It was there, and has no end that could be written `again`.
              redis.call('SREM', K[1], ARGV[1])
              redis.call('SADD', K[1], ARGV[1])
            end
            keep(K[1], was, tonumber(ARGV[2]))
            return 1
            """)

    /// KEYS record. ARGV when the session was used, how long the time before has to be ago. A record that is gone stays so, and lives no longer for it.
    static let noteUse = RedisScript(
        """
        if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end
        local seen = tonumber(redis.call('HGET', KEYS[1], 'last_seen_at'))
        if seen and seen + tonumber(ARGV[2]) > tonumber(ARGV[1]) then return 0 end
        redis.call('HSET', KEYS[1], 'last_seen_at', ARGV[1])
        return 1
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
}

/// A logout that too few replicas had is repeated, perhaps over another connection.
enum RepeatedEnding {
    /// For how long the record of what ended is kept where nothing is told of it (`retain_revoked: 0s`), milliseconds: a repetition finds it and has
    /// it replicated once more.
    static let time = 60_000
}

/// Clocks of a fleet's machines are not the same.
enum ClockSkew {
    /// How much the clocks of gateways and of Redis are expected to differ at most, milliseconds. One that is ahead takes a session out of the set
    /// before its end has come by the others': for these that is an end by time all the same, and nobody's logout.
    static let tolerance = 5_000
}
