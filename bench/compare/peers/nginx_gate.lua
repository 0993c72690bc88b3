-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Portcullis authors
--
-- nginx: token and session checked in Lua, as fast as it goes by hand: the key is parsed once, OpenSSL is called directly, verified tokens are
-- remembered. The session is asked of Redis for each request, on connections that nginx keeps.
local ffi = require "ffi"
local json = require "cjson.safe"
local lrucache = require "resty.lrucache"
local find, sub, gsub = string.find, string.sub, string.gsub
local C = ffi.C

ffi.cdef [[
void *BIO_new_mem_buf(const void *bytes, int count);
void *PEM_read_bio_PUBKEY(void *bio, void **key, void *callback, void *argument);
const void *EVP_sha256(void);
void *EVP_MD_CTX_new(void);
int EVP_MD_CTX_reset(void *context);
int EVP_DigestVerifyInit(void *context, void **method, const void *hash, void *engine, void *key);
int EVP_DigestVerify(void *context, const char *signature, size_t signature_size, const char *bytes, size_t count);
]]

local function base64url(text)
  text = gsub(text, "[-_]", { ["-"] = "+", ["_"] = "/" })
  return ngx.decode_base64(text .. string.rep("=", -#text % 4))
end

local Gate = {}
Gate.__index = Gate

function Gate.new(settings)
  local file = assert(io.open(settings.public_key, "rb"))
  local pem = file:read("*a")
  file:close()
  local self = setmetatable(settings, Gate)
  self.key = C.PEM_read_bio_PUBKEY(C.BIO_new_mem_buf(pem, #pem), nil, nil, nil)
  assert(self.key ~= nil, "no public key")
  self.context, self.sha256 = C.EVP_MD_CTX_new(), C.EVP_sha256()
  self.tokens = assert(lrucache.new(settings.remembered))
  self.headers = lrucache.new(100) -- an issuer's tokens have few different headers: each is decoded once
  return self
end

function Gate:header_is_good(text)
  local good = self.headers:get(text)
  if good == nil then
    local raw = base64url(text)
    local header = raw and json.decode(raw)
    good = type(header) == "table" and header.alg == "RS256" and header.crit == nil
    self.headers:set(text, good)
  end
  return good
end

-- The claims of a good token, else nil.
function Gate:verify(token)
  local first = find(token, ".", 1, true)
  local second = first and find(token, ".", first + 1, true)
  if not second or not self:header_is_good(sub(token, 1, first - 1)) then return nil end
  local signature = base64url(sub(token, second + 1))
  if not signature then return nil end
  C.EVP_MD_CTX_reset(self.context)
  if C.EVP_DigestVerifyInit(self.context, nil, self.sha256, nil, self.key) ~= 1 then return nil end
  if C.EVP_DigestVerify(self.context, signature, #signature, token, second - 1) ~= 1 then return nil end
  local raw = base64url(sub(token, first + 1, second - 1))
  local claims = raw and json.decode(raw)
  if type(claims) ~= "table" or claims.iss ~= self.issuer or claims.aud ~= self.audience or type(claims.exp) ~= "number"
    or claims.exp <= ngx.time() or type(claims.sub) ~= "string" or type(claims.sid) ~= "string" then return nil end
  return claims
end

-- true, false, or nil where Redis does not say.
function Gate:is_active(user, session)
  local socket = ngx.socket.tcp()
  socket:settimeouts(1000, 1000, 1000)
  if not socket:connect("127.0.0.1", self.redis, { pool = "redis", pool_size = 256 }) then return nil end
  local key = self.prefix .. "{" .. user .. "}"
  local sent = socket:send { "*3\r\n$9\r\nSISMEMBER\r\n$", #key, "\r\n", key, "\r\n$", #session, "\r\n", session, "\r\n" }
  local answer = sent and socket:receive()
  if answer ~= ":1" and answer ~= ":0" then return nil end
  socket:setkeepalive(60000, 256)
  return answer == ":1"
end

local function refuse(active)
  return ngx.exit(active == nil and 503 or 401)
end

function Gate:access()
  local field = ngx.var.http_authorization
  if not field or sub(field, 1, 7) ~= "Bearer " then return refuse(false) end
  local token = sub(field, 8)
  local claims = self.tokens:get(token)
  if not claims then
    claims = self:verify(token)
    if not claims then return refuse(false) end
    self.tokens:set(token, claims, claims.exp - ngx.time())
  end
  local active = self:is_active(claims.sub, claims.sid)
  if not active then return refuse(active) end
  ngx.req.set_header("X-Auth-User", claims.sub)
  ngx.req.set_header("X-Auth-Session", claims.sid)
end

-- For a proxy that has verified the token and says whose it is.
function Gate:session_only()
  local user, session = ngx.var.http_x_auth_user, ngx.var.http_x_auth_session
  if not user or not session then return refuse(false) end
  local active = self:is_active(user, session)
  if not active then return refuse(active) end
  ngx.header.content_length = 0
  ngx.send_headers()
end

return Gate
