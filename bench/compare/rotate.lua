-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Portcullis authors
-- wrk: the tokens of the file that is its argument, one after the other.
local requests, place = {}, 0
function init(arguments)
  for token in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", "/api/resource", { ["Host"] = wrk.headers["Host"], ["Authorization"] = "Bearer " .. token })
  end
end
function request()
  place = place % #requests + 1
  return requests[place]
end
