// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import RedisClient

/// The heartbeat's scripts. Renewing one that is there needs no memory, so Redis does it also where it has none left.
enum FleetScripts {
    /// The set of ids outlives every heartbeat in it by far. Its member `@RUN:MILLISECONDS` says since when it has been kept by this run of the server
    /// (Redis' clock): a flush, a failover, an empty Redis or one with an old snapshot shows in it, as there may be gateways then that act and have
    /// no heartbeat.
    private static let keepEdges = """
        local function keep_edges()
          if redis.call('SISMEMBER', KEYS[2], '@' .. ARGV[5]) == 0 then
            for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
              if string.sub(id, 1, 1) == '@' then redis.pcall('SREM', KEYS[2], id) end
            end
            local time = redis.call('TIME')
            redis.pcall('SADD', KEYS[2], '@' .. ARGV[5], string.format('@%s:%d%03d', ARGV[5], time[1], math.floor(time[2] / 1000)))
          end
          if redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 0 then redis.pcall('SADD', KEYS[2], ARGV[2]) end
          redis.call('PEXPIRE', KEYS[2], math.max(10 * ARGV[1], 60000))
        end

        """

    /// KEYS edge, edges. ARGV milliseconds, id, own channel, own message, the server's run, value.
    static let write = RedisScript(
        keepEdges + """
            redis.call('SET', KEYS[1], ARGV[6], 'PX', ARGV[1])
            keep_edges()
            redis.call('PUBLISH', ARGV[3], ARGV[4])
            return 1
            """)

    /// KEYS edge, edges. ARGV milliseconds, id, own channel, own message, the server's run. Returns 1, or 0 where the heartbeat is not there.
    static let renew = RedisScript(
        keepEdges + """
            local was = redis.call('PEXPIRE', KEYS[1], ARGV[1])
            if was == 1 then
              keep_edges()
              redis.call('PUBLISH', ARGV[3], ARGV[4])
            end
            return was
            """)

    /// KEYS edges. ARGV prefix of edge keys, the server's run. Returns {milliseconds since no heartbeat has been lost, {id, value, milliseconds left}, …}
    /// of those that have a heartbeat, and forgets the others: whose heartbeat was evicted, deleted, or ended by a step of Redis' clock may still act,
    /// so that from now on heartbeats count as lost at this moment.
    static let list = RedisScript(
        """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local result, mark, isLost = {0}, nil, false
        for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
          if string.sub(id, 1, 1) == '@' then
            local run, digits = string.match(id, '^@(%w+):(%d+)$')
            local since = run == ARGV[2] and tonumber(digits)
            if since then result[1], mark = math.max(0, now - since), id end
          else
            local left = redis.call('PTTL', ARGV[1] .. id)
            if left == -2 then
              redis.call('SREM', KEYS[1], id)
              isLost = true
            else
              result[#result + 1] = {id, redis.call('GET', ARGV[1] .. id) or '', left}
            end
          end
        end
        if isLost then
          result[1] = 0
          if mark then
            redis.call('SREM', KEYS[1], mark)
            redis.pcall('SADD', KEYS[1], string.format('@%s:%.0f', ARGV[2], now))
          end
        end
        return result
        """)
}
