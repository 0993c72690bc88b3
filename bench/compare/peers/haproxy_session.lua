-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Portcullis authors
--
-- HAProxy: is this session active? One SISMEMBER on a connection that is kept; there is one thread, so one pool.
local idle = {}

local function ask(socket, command)
  if socket:send(command) == nil then return nil end
  return socket:receive("*l")
end

local function fresh()
  local socket = core.tcp()
  socket:settimeout(3600)
  if socket:connect("127.0.0.1", <<redis>>) == nil then return nil end
  return socket
end

core.register_action("ask_session", { "http-req" }, function(txn)
  local user, session = txn:get_var("txn.user"), txn:get_var("txn.session")
  if not user or not session then txn:set_var("txn.active", false) return end
  local key = "<<prefix>>{" .. user .. "}"
  local command = "*3\r\n$9\r\nSISMEMBER\r\n$" .. #key .. "\r\n" .. key .. "\r\n$" .. #session .. "\r\n" .. session .. "\r\n"
  local socket, answer = table.remove(idle), nil
  if socket then
    answer = ask(socket, command)
    if answer == nil then socket:close() end
  end
  if answer == nil then -- none was kept, or Redis had closed it meanwhile
    socket = fresh()
    if socket == nil then return end
    answer = ask(socket, command)
    if answer == nil then socket:close() return end
  end
  idle[#idle + 1] = socket
  -- Not set where Redis does not say.
  if answer == ":1" or answer == ":0" then txn:set_var("txn.active", answer == ":1") end
end, 0)
